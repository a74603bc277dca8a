// The state of the page, which view is shown, and the connection to the server,
// which is restored automatically.

import * as api from "./api.js";
import {text} from "./text.js";

export const app = {
	phase: "starting", // signin, nowhere, choose, ready, ended or failed
	mount: null, // what the server says about this mount
	workspace: "", // the one shown
	summary: null, // of the workspace, from the API
	route: {page: "keys", query: new URLSearchParams()}, // or {page: "key", id, query}, or {page: "activity", query}
	problem: "", // shown with the phase
	lost: false, // the server did not answer last time
	toast: "",
};

const pages = {}; // by name, those of a workspace and "choose": {load(), enter()}
export const addPage = (name, page) => (pages[name] = page);

let draw = () => {};
let drawing = false;
export const drawWith = (render) => (draw = render);

// Redraws the page, once for all changes made in the same task.
export function redraw() {
	if (drawing) {
		return;
	}
	drawing = true;
	queueMicrotask(() => {
		drawing = false;
		draw();
	});
}

let toastEnd;

// Shows a message that disappears by itself.
export function toast(words) {
	app.toast = words;
	clearTimeout(toastEnd);
	toastEnd = setTimeout(() => toast(""), 6000);
	redraw();
}

// Asks the server what it serves, then shows the view that the address names.
export async function begin() {
	await guarded(async () => {
		app.mount = await api.mounted();
		app.problem = "";
		follow();
	});
}

// Addresses are #/workspace, #/workspace/keys/id and #/workspace/activity. What a view is
// narrowed to follows as a query.
const addresses = /^#\/([\w.-]{1,64})(?:\/(?:(activity)|keys\/(key_\w{1,40})))?(?:\?(.*))?$/;
export const toWorkspace = (id) => `#/${id}`;
export const toKeys = () => toWorkspace(app.workspace);
export const toKey = (id, workspace = app.workspace) => `#/${workspace}/keys/${id}`;
export const toActivity = () => `#/${app.workspace}/activity`;
export const isWorkspace = (id) => /^(?!\.)[\w.-]{1,64}$/.test(id);

// Goes to an address within the page. One that replaces the current one is not a step to
// go back to.
export function go(address, {replace = false} = {}) {
	history[replace ? "replaceState" : "pushState"](null, "", address);
	follow();
}

// Shows what the address names.
export function follow() {
	if (!app.mount) {
		return;
	}
	const [, named, activity, id, rest] = location.hash.match(addresses) ?? [];
	const workspace = app.mount.workspace ?? (isWorkspace(named ?? "") ? named : "");
	if (workspace && workspace !== named) {
		history.replaceState(null, "", toWorkspace(workspace));
	}
	if (workspace !== app.workspace) {
		app.summary = null;
	}
	const here = workspace === named || named === undefined;
	app.workspace = workspace;
	app.phase = workspace ? "ready" : "choose";
	app.route = {page: here && id ? "key" : here && activity ? "activity" : "keys", id: here ? id : undefined, query: new URLSearchParams(here ? rest : "")};
	pages[workspace ? app.route.page : "choose"].enter();
	void refresh();
	redraw();
}

// Reloads the current view.
export async function refresh() {
	if (app.phase === "choose") {
		await guarded(pages.choose.load);
		return;
	}
	if (app.phase !== "ready") {
		return;
	}
	const {workspace, route} = app;
	await guarded(() => Promise.all([summarise(workspace), pages[route.page].load()]));
}

// Loads what is known of a workspace as a whole.
async function summarise(workspace) {
	const summary = await summaryOf(workspace);
	if (workspace === app.workspace) {
		app.summary = summary;
		redraw();
	}
}

// Describes a workspace. A refusal is ignored here, because the list of keys shows
// it too.
async function summaryOf(workspace) {
	try {
		return (await api.workspace(workspace)).workspace;
	} catch (failure) {
		if (failure instanceof api.Refusal && failure.code !== "unauthorized") {
			return null;
		}
		throw failure;
	}
}

// Runs a task that reads from the server, and handles the cases that the server
// does not answer or requires a new sign-in.
export async function guarded(read) {
	try {
		await read();
		if (app.lost) {
			app.lost = false;
			toast(text.connection.back);
		}
	} catch (problem) {
		if (!refused(problem)) {
			fail(problem);
		}
	}
	redraw();
}

// Says that the page failed, with the cause in the console, rather than show a view
// that loads forever.
export function fail(problem) {
	console.error(problem);
	Object.assign(app, {phase: "failed", problem: text.connection.broken});
}

let nextTry;

// Shows what a failure means for the whole page, if anything.
export function refused(problem) {
	if (problem instanceof api.Unreachable) {
		app.lost = true;
		clearTimeout(nextTry);
		nextTry = setTimeout(retry, 3000);
	} else if (problem instanceof api.SignedOut) {
		app.phase = "ended";
	} else if (problem.code === "unauthorized") {
		app.phase = "signin";
		app.problem = api.signedIn() ? (app.mount ? text.signIn.again : text.signIn.wrong) : "";
		api.signOut();
	} else if (problem instanceof api.Refusal && !app.mount) {
		app.phase = problem.code === "workspace_mismatch" ? "nowhere" : "failed";
		app.problem = words(problem);
	} else {
		return false;
	}
	redraw();
	return true;
}

// A refusal in words.
export const words = (refusal) =>
	refusal.code === "unexpected" ? text.connection.unexpected(refusal.status) : text.refused(refusal.code, refusal.message);

export function retry() {
	if (app.lost && document.visibilityState === "visible") {
		void (app.mount ? refresh() : begin());
	}
}

export async function signIn(token) {
	api.signIn(token);
	await begin();
}

export function signOut() {
	api.signOut();
	location.reload();
}

const usual = 30_000;
const watching = 3_000; // while waiting for a key to be used

// Refreshes the view regularly, and when the tab becomes visible.
export function keepFresh() {
	let last = Date.now();
	setInterval(() => {
		const wait = pages[app.route.page]?.watching?.() ? watching : usual;
		if (document.visibilityState === "visible" && Date.now() - last >= wait) {
			last = Date.now();
			void refresh();
		}
	}, 1000);
	document.addEventListener("visibilitychange", () => {
		if (document.visibilityState === "visible") {
			last = Date.now();
			void (app.lost ? retry() : refresh());
		}
	});
}
