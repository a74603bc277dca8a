// The dialog that shows the token of a new key once: no call returns it again, and
// only this dialog holds it.

import {html, nothing} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {app, redraw, refused} from "./app.js";
import {close, leave, open} from "./dialog.js";
import {text} from "./text.js";
import {copyButton, icon} from "./ui.js";

let shown = null; // the token, whether it was copied, and the reminder

// Asks before the tab is closed while a token is not saved, and forgets it when the
// page is hidden, so a page restored from memory does not show it.
addEventListener("beforeunload", (event) => {
	if (shown && !saved()) {
		event.preventDefault();
	}
});
addEventListener("pagehide", () => {
	if (shown) {
		forget();
		close();
	}
});

const saved = () => shown.token.state === "copied";

function forget() {
	URL.revokeObjectURL(shown.reminder);
	shown = null;
}

export function showToken(key, token, then = () => {}) {
	const mine = (shown = {token: {}, command: {}, asked: false, discarded: false, reminder: ""});
	const mayClose = () => {
		mine.asked = !saved() && !mine.discarded;
		if (mine.asked) {
			return false;
		}
		forget();
		then();
		return true;
	};
	open(text.made.title(key.name, key.workspace_id), () => content(key, token, mine), {mayClose, wide: true});
	void remind(key, mine);
}

// Loads the reminder immediately, as a file in memory: its URL requires credentials,
// which a link does not send.
async function remind(key, mine) {
	try {
		const calendar = await api.reminder(key.workspace_id, key.id);
		if (mine === shown) {
			mine.reminder = URL.createObjectURL(new Blob([calendar], {type: "text/calendar"}));
			redraw();
		}
	} catch (problem) {
		refused(problem); // the reminder is also available in the key's view
	}
}

// The command that tests a key, for bash and zsh. It prompts for the token, which
// then appears neither in the shell's history nor in the list of processes.
const command = () =>
	`printf 'Token: '; read -rs TOKEN; echo; curl -H @- "${new URL(app.mount.test_url, location.origin).href}" <<< "Authorization: Bearer $TOKEN"`;

function content(key, token, mine) {
	const used = copyButton(text.made.copy, token, {primary: true, copied: mine.token, source: "#token"});
	return html`
		<p>${text.made.lead}</p>
		<div class="secret">
			<code id="token" tabindex="0" aria-label=${text.made.token(key.name)}>${token}</code>
			${used}
		</div>
		<h3>${text.made.tryIt}</h3>
		<p class="help">${text.made.tryHelp}</p>
		<div class="secret small">
			<pre id="command" tabindex="0" aria-label=${text.made.tryIt}>${command()}</pre>
			${copyButton(text.made.copyCommand, command(), {copied: mine.command, source: "#command"})}
		</div>
		<h3>${text.made.remind}</h3>
		<p class="help">${text.made.remindHelp}
			${mine.reminder ? html`<a href=${mine.reminder} download="${key.id}.ics">${icon("calendar")}${text.made.remindLink}</a>` : nothing}</p>
		<p class="hint">${text.made.servers}</p>
		${mine.asked && !saved() ? unsaved(mine) : nothing}
		${mine.asked && !saved() ? nothing : html`<div class="buttons"><button type="button" @click=${leave}>${text.made.done}</button></div>`}`;
}

function unsaved(mine) {
	const discard = () => {
		mine.discarded = true;
		leave();
	};
	const stay = () => {
		mine.asked = false;
		redraw();
		queueMicrotask(() => document.querySelector(".secret button")?.focus());
	};
	return html`
		<div class="notice warning" role="alert">${icon("danger")}<span>${text.made.unsaved}</span></div>
		<div class="buttons">
			<button type="button" class="danger" @click=${discard}>${text.made.closeAnyway}</button>
			<button type="button" class="primary" @click=${stay}>${text.made.keepOpen}</button>
		</div>`;
}
