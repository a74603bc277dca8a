// The page: what every view has in common, and startup.

import {html, nothing, render} from "./vendor/lit-html.js";
import {signedIn} from "./api.js";
import {activityView} from "./activity.js";
import {app, begin, drawWith, fail, follow, keepFresh, retry, signOut, toActivity, toKeys} from "./app.js";
import {behindView} from "./behind.js";
import {chooseView} from "./choose.js";
import {afterDrawing, dialogView, leave} from "./dialog.js";
import {endedView, failedView, nowhereView, signInView, startingView} from "./entrance.js";
import {keyView} from "./key.js";
import {listView} from "./list.js";
import site from "./site.json" with {type: "json"};
import {language, text} from "./text.js";
import {icon, when} from "./ui.js";

const views = {keys: listView, key: keyView, activity: activityView};
const entrances = {starting: startingView, signin: signInView, nowhere: nowhereView, choose: chooseView, ended: endedView, failed: failedView};

const page = () => html`
	<a class="skip" href="#content" @click=${skip}>${text.skip}</a>
	${bar()}
	${app.lost ? html`<div class="lost" role="alert"><span>${app.mount ? text.connection.lost : text.connection.never}</span><button type="button" @click=${retry}>${text.connection.retry}</button></div>` : nothing}
	${behindView()}
	<main id="content" tabindex="-1">${app.phase === "ready" ? [suspended(), views[app.route.page]()] : entrances[app.phase]()}</main>
	<p class="toast ${app.toast ? "" : "unseen"}" role="status">${app.toast}</p>
	${dialogView()}`;

function bar() {
	const ready = app.phase === "ready";
	const inside = ready || app.phase === "choose"; // the user is signed in
	const here = (name) => (app.route.page === name ? "page" : nothing);
	return html`<header class="bar"><div>
		${site.back.url ? html`<a class="home" href=${site.back.url}>${icon("back")}<bdi>${site.back.label}</bdi></a>` : nothing}
		<span class="brand">${site.logo ? html`<img src=${site.logo} alt="">` : icon("key")}<bdi>${site.title || text.title}</bdi></span>
		${ready
			? html`<nav aria-label=${text.navigation}>
					<a href=${toKeys()} aria-current=${here("keys")}>${text.keys}</a>
					<a href=${toActivity()} aria-current=${here("activity")}>${text.activity}</a>
				</nav>
				<span class="workspace"><span class="unseen">${text.workspace}</span><code>${app.workspace}</code>${app.mount.workspace ? nothing : html`<a href="#/">${text.changeWorkspace}</a>`}</span>`
			: nothing}
		${app.mount && inside && !Object.hasOwn(text.events.actors, app.mount.actor) ? html`<span class="who"><span class="unseen">${text.signedInAs}</span><bdi>${app.mount.actor}</bdi></span>` : nothing}
		${signedIn() && inside ? html`<button type="button" @click=${signOut}>${text.signOut}</button>` : nothing}
	</div></header>`;
}

function suspended() {
	const of = app.summary;
	if (!of?.suspended) {
		return nothing;
	}
	return html`<div class="notice danger" role="status">${icon("danger")}<span><strong>${text.suspended.title}.</strong>
		${text.suspended.since(when(of.suspended_at))} ${of.reason ? html`<bdi>${text.suspended.reason(of.reason)}</bdi>` : nothing}</span></div>`;
}

// The address names the view, so a link within the page must not change it.
function skip(event) {
	event.preventDefault();
	document.querySelector("main").focus();
}

// The page, or its failure view if the answer of the server cannot be drawn.
function whole() {
	try {
		return page();
	} catch (problem) {
		fail(problem);
		return page();
	}
}

let place = "starting";

function draw() {
	const focused = document.activeElement;
	render(whole(), document.querySelector("#page"));
	document.title = [text.title, app.phase === "ready" && app.workspace, site.title].filter(Boolean).join(" · ");
	afterDrawing();
	focusNewView();
	keepFocus(focused);
}

// If the focused element is gone, the heading gets the focus, so that keyboard users
// do not start again at the top of the page.
function keepFocus(focused) {
	if (!focused.isConnected && document.activeElement === document.body) {
		document.querySelector("dialog h2, h1")?.focus();
	}
}

// A new view gets the focus, so that screen readers announce it: on the control that it
// is there for, if there is one, otherwise on its heading.
function focusNewView() {
	const now = `${app.phase} ${app.workspace} ${app.route.page} ${app.route.id ?? ""}`;
	const before = place;
	place = now;
	if (now === before || document.querySelector("dialog")) {
		return;
	}
	const main = document.querySelector("main [data-focus]");
	if (main) {
		main.focus();
	} else if (!before.startsWith("starting")) {
		document.querySelector("h1")?.focus();
	}
}

document.documentElement.lang = language;
document.querySelector("noscript")?.remove();
drawWith(draw);
addEventListener("hashchange", () => {
	leave();
	follow();
});
draw();
keepFresh();
void begin();
