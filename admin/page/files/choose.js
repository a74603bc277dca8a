// Choosing a workspace: by its id, from a list, or by one of its keys.

import {html, nothing} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {addPage, app, guarded, isWorkspace, redraw, toWorkspace, words} from "./app.js";
import {findField, findNotice, foundView, isFinding, renew, seekAgain} from "./find.js";
import {number} from "./format.js";
import {gather} from "./gather.js";
import {text} from "./text.js";
import {holdsToken, inAddress} from "./tokens.js";
import {badge, blank, day, loading, pager, problem, wrong} from "./ui.js";

const pageSize = 50;
const list = {};

const reset = () => Object.assign(list, {typed: "", q: "", cursors: [""], workspaces: null, next: null, failed: "", none: false});

let asked = 0; // number of the latest request: answers to earlier ones are dropped

async function load() {
	const mine = ++asked;
	const read = async (page) => {
		const {workspaces, next_cursor} = await api.workspaces({q: list.q, ...page});
		return {entries: workspaces, next_cursor};
	};
	try {
		await gather(read, {cursor: list.cursors.at(-1), size: pageSize}, (workspaces, next) => {
			if (mine !== asked || app.phase !== "choose") {
				return false;
			}
			if (workspaces.length > 0 || !next) {
				const none = list.cursors.length === 1 && workspaces.length === 0;
				Object.assign(list, {workspaces, next, failed: "", none: none && list.q === ""});
				redraw();
			}
			return true;
		});
	} catch (failure) {
		if (!(failure instanceof api.Refusal) || failure.code === "unauthorized") {
			throw failure;
		}
		if (mine === asked) {
			list.failed = words(failure);
		}
	}
}

addPage("choose", {
	enter() {
		app.problem = "";
		reset();
		renew();
	},
	load: () => Promise.all([load(), seekAgain()]),
});

// Loads the list with another search, or another page of it.
function ask(changes) {
	Object.assign(list, {cursors: [""], workspaces: null, failed: ""}, changes);
	redraw();
	void guarded(load);
}

let typing;

// Searches once the user stops typing. A token is never searched for, because it would
// appear in a URL.
function search(event) {
	list.typed = event.target.value;
	app.problem = problemOf(list.typed, false);
	redraw();
	const q = inAddress(list.typed.trim());
	clearTimeout(typing);
	if (!app.problem && !list.none) {
		typing = setTimeout(() => q === list.q || ask({q}), 200);
	}
}

// What is wrong with an id, unless it is not whole yet.
function problemOf(typed, whole) {
	if (holdsToken(typed)) {
		return text.choose.token;
	}
	return whole && !isWorkspace(typed.trim()) ? text.choose.invalid : "";
}

let doubted = ""; // what was refused because it may be a token

// What is wrong with opening a workspace: nothing, if it is listed, or opened once more.
function doubtOf(id) {
	if (inAddress(id) === id || id === doubted || list.workspaces?.some((one) => one.id === id)) {
		return "";
	}
	doubted = id;
	return text.choose.tokenPerhaps;
}

function open(event) {
	event.preventDefault();
	const id = list.typed.trim();
	app.problem = problemOf(list.typed, true) || doubtOf(id);
	if (!app.problem) {
		location.hash = toWorkspace(id);
	}
	redraw();
	event.target.elements.workspace.focus();
}

export const chooseView = () => html`
	<header class="head"><div>
		<h1 tabindex="-1">${text.choose.title}</h1>
		<p class="lead">${text.choose.lead}</p>
	</div></header>
	<div class="ways">
		<form class="field" novalidate @submit=${open}>
			<label for="workspace">${text.choose.label}</label>
			<div class="entry">
				<input id="workspace" autocomplete="off" autocapitalize="off" spellcheck="false" data-focus aria-invalid=${app.problem ? "true" : "false"} aria-describedby="workspace-problem workspace-help" .value=${list.typed} @input=${search}>
				<button class="primary">${text.choose.submit}</button>
			</div>
			${wrong("workspace-problem", app.problem)}
			<p class="help" id="workspace-help">${text.choose.help}</p>
		</form>
		${list.none ? nothing : findField()}
	</div>
	${findNotice()}
	${isFinding() ? foundView() : listView()}`;

function listView() {
	if (list.failed) {
		return problem(`${text.choose.failed}: ${list.failed}`);
	}
	if (list.workspaces === null) {
		return loading();
	}
	if (list.none) {
		return firstSteps();
	}
	if (list.workspaces.length === 0) {
		return blank(list.q ? {title: text.choose.noMatch.title, lead: text.choose.noMatch.lead(list.q)} : text.choose.empty);
	}
	const number = list.cursors.length;
	const newer = number > 1 && (() => ask({cursors: list.cursors.slice(0, -1)}));
	const older = list.next && (() => ask({cursors: [...list.cursors, list.next]}));
	return html`
		<table role="table" aria-label=${text.choose.workspaces}>
			<thead role="rowgroup"><tr role="row">${Object.values(text.choose.columns).map((name) => html`<th role="columnheader" scope="col">${name}</th>`)}</tr></thead>
			<tbody role="rowgroup">${list.workspaces.map(row)}</tbody>
		</table>
		<p class="unseen" role="status">${text.choose.shown(list.workspaces.length)}</p>
		${pager({number, newer, older}, text.choose)}`;
}

// What to do while no workspace has ever had a key.
const firstSteps = () => html`
	<section class="card first">
		<h2>${text.choose.empty.title}</h2>
		<p>${text.choose.empty.lead}</p>
		<ol>${text.choose.empty.steps.map((step) => html`<li>${step}</li>`)}</ol>
	</section>`;

function row({id, suspended, suspended_at: at, reason, keys}) {
	const {columns} = text.choose;
	const counted = (name) => html`<td role="cell" data-label=${columns[name]}>${number(keys[name])}</td>`;
	return html`<tr role="row">
		<th role="rowheader" scope="row" class="name"><a href=${toWorkspace(id)}><bdi>${id}</bdi></a></th>
		${["active", "expired", "revoked"].map(counted)}
		<td role="cell" data-label=${columns.status} class="state">${suspended
			? html`${badge("danger", text.status.suspended)}<span class="quietly">${day(at)}${reason ? html` · <bdi>${reason}</bdi>` : nothing}</span>`
			: html`<span class="plain">${text.choose.notSuspended}</span>`}</td>
	</tr>`;
}
