// The views before anything of the server is shown.

import {html, nothing} from "./vendor/lit-html.js";
import {app, redraw, signIn} from "./app.js";
import {text} from "./text.js";
import {blank, problem, wrong} from "./ui.js";

// The token is sent in a header, so it can hold only what a header can.
const sendable = /^[\x21-\x7e]+$/;

export function signInView() {
	const submit = async (event) => {
		event.preventDefault();
		const box = event.target.elements["admin-token"];
		const token = box.value.trim();
		box.value = "";
		if (sendable.test(token)) {
			await signIn(token);
		} else {
			app.problem = text.signIn.unusable;
			redraw();
		}
		box.focus(); // if it is still there
	};
	return html`
		<form class="card entrance" novalidate @submit=${submit}>
			<h1 tabindex="-1">${text.signIn.title}</h1>
			<p>${text.signIn.lead}</p>
			<div class="field">
				<label for="admin-token">${text.signIn.token}</label>
				<input id="admin-token" type="password" autocomplete="off" data-focus aria-invalid=${app.problem ? "true" : "false"} aria-describedby="admin-token-problem admin-token-help">
				${wrong("admin-token-problem", app.problem)}
				<p class="help" id="admin-token-help">${text.signIn.help}</p>
			</div>
			<div class="buttons"><button class="primary">${text.signIn.submit}</button></div>
		</form>`;
}

export const endedView = () => html`
	<div class="card entrance">
		<h1 tabindex="-1">${text.signIn.title}</h1>
		<p>${text.signIn.ended}</p>
		<div class="buttons"><button type="button" class="primary" @click=${() => location.reload()}>${text.signIn.reload}</button></div>
	</div>`;

// Nothing is wrong, but there is nothing to see for this user.
export const nowhereView = () => html`<h1 class="unseen" tabindex="-1">${text.title}</h1>${blank(text.choose.none)}`;

export const failedView = () => html`<h1 class="unseen" tabindex="-1">${text.title}</h1>${problem(app.problem)}`;

export const startingView = () => (app.lost ? nothing : html`<p class="loading" role="status">${text.connection.starting}</p>`);
