// Finding a key in all workspaces.

import {html, nothing} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {app, guarded, redraw, toKey, words} from "./app.js";
import {gather} from "./gather.js";
import {endOf} from "./marks.js";
import {named} from "./named.js";
import {sought} from "./sought.js";
import {text} from "./text.js";
import {badge, badges, blank, day, icon, pager, problem, since} from "./ui.js";

const pageSize = 50;
const found = {typed: "", q: "", notice: "", cursors: [""], keys: [], next: null, searching: false, failed: "", broken: false};

const suspended = new Map(); // whether the workspaces of the found keys are, by id

// Whether there is a search, whose result is shown in place of the workspaces.
export const isFinding = () => found.q !== "";

const wholeID = /^key_([0-9A-HJKMNP-TV-Z]{26})$/i;

let asked = 0; // number of the latest search: answers to earlier ones are dropped

async function seek() {
	const mine = ++asked;
	const wanted = () => mine === asked && app.phase === "choose";
	suspended.clear();
	Object.assign(found, {keys: [], next: null, failed: "", broken: false, searching: found.q !== ""});
	redraw();
	if (!found.searching) {
		return;
	}
	try {
		await gather(read, {cursor: found.cursors.at(-1), size: pageSize}, (keys, next) => {
			if (wanted()) {
				Object.assign(found, {keys, next});
				redraw();
			}
			return wanted();
		});
	} catch (failure) {
		if (mine === asked) {
			fail(failure);
		}
	} finally {
		if (mine === asked) {
			found.searching = false;
			redraw();
		}
	}
}

function fail(failure) {
	if (!(failure instanceof api.Refusal) || failure.code === "unauthorized") {
		found.broken = true;
		throw failure;
	}
	found.failed = words(failure);
}

// Reads a page of keys, and which of their workspaces are suspended.
async function read(page) {
	const [, id] = found.q.match(wholeID) ?? [];
	const {keys, next_cursor} = id ? await readOne(`key_${id.toUpperCase()}`) : await api.find({q: found.q, ...page});
	const unknown = new Set(keys.map((key) => key.workspace_id).filter((ws) => !suspended.has(ws)));
	await Promise.all([...unknown].map(async (ws) => suspended.set(ws, (await api.workspace(ws)).workspace.suspended)));
	return {entries: keys, next_cursor};
}

// Reads the key with an id, which needs no search.
async function readOne(id) {
	try {
		return {keys: [(await api.findKey(id)).key], next_cursor: null};
	} catch (failure) {
		if (failure.code !== "not_found") {
			throw failure;
		}
		return {keys: [], next_cursor: null};
	}
}

// Repeats a search that the server did not answer, or whose result may have changed.
export const seekAgain = () => (found.broken ? seek() : undefined);
export const renew = () => (found.broken = isFinding());

// Searches for a text once the workspaces are shown.
export const findEverywhere = (q) => Object.assign(found, {typed: q, q, notice: "", cursors: [""]});

// Searches for another text, or shows another page.
function ask(changes) {
	Object.assign(found, {cursors: [""]}, changes);
	void guarded(seek);
}

let typing;

// Searches once the user stops typing.
function search(event) {
	const wanted = sought(event.target.value);
	found.typed = wanted.typed;
	redraw();
	clearTimeout(typing);
	typing = setTimeout(() => ask(wanted), 200);
}

export const findField = () => html`
	<div class="field">
		<label for="find">${text.find.label}</label>
		<div class="search">${icon("search")}
			<input id="find" type="search" autocomplete="off" autocapitalize="off" spellcheck="false" aria-describedby="find-help" .value=${found.typed} @input=${search}>
		</div>
		<p class="help" id="find-help">${text.find.help}</p>
	</div>`;

export const findNotice = () => (found.notice ? html`<p class="notice warning" role="status">${icon("warning")}<span>${found.notice}</span></p>` : nothing);

export function foundView() {
	if (found.failed) {
		return problem(`${text.find.failed}: ${found.failed}`);
	}
	const {length} = found.keys;
	if (length === 0 && !found.searching) {
		const clear = html`<button type="button" @click=${() => ask({typed: "", q: "", notice: ""})}>${text.list.noMatch.clear}</button>`;
		return blank({title: text.find.noMatch.title, lead: text.find.noMatch.lead(found.q)}, clear);
	}
	return html`
		${length > 0 ? rows() : nothing}
		<p class=${found.searching ? "loading" : "unseen"} role="status">${found.searching ? text.find.searching : text.list.shown(length)}</p>
		${found.searching ? nothing : pages()}`;
}

const rows = () => html`
	<table role="table" aria-label=${text.find.title}>
		<thead role="rowgroup"><tr role="row">${Object.values(text.find.columns).map((name) => html`<th role="columnheader" scope="col">${name}</th>`)}</tr></thead>
		<tbody role="rowgroup">${found.keys.map(row)}</tbody>
	</table>`;

function row(key) {
	const {columns} = text.find;
	const active = key.status === "active";
	return html`<tr role="row" class=${key.status}>
		<th role="rowheader" scope="row" class="name"><a href=${toKey(key.id, key.workspace_id)}><bdi>${key.name}</bdi></a>
			<span class="owner"><bdi>${key.owner || text.list.noOwner}</bdi></span></th>
		<td role="cell" data-label=${columns.workspace} class="of"><code>${key.workspace_id}</code></td>
		<td role="cell" data-label=${columns.access}>${named(text.preset, key.preset)?.name}</td>
		<td role="cell" data-label=${columns.token}><code>${key.token_hint}</code></td>
		<td role="cell" data-label=${columns.end}>${active ? html`${since(endOf(key))} <span class="quietly">${day(endOf(key))}</span>` : day(key.expires_at)}</td>
		<td role="cell" data-label=${columns.status} class="state">${statusOf(key)}</td>
	</tr>`;
}

function statusOf(key) {
	const marks = badges(key); // whether a replacement is active is not known here
	if (key.status !== "active") {
		return marks;
	}
	if (suspended.get(key.workspace_id)) {
		return html`${badge("danger", text.status.suspended)}${marks}`;
	}
	return marks.length === 0 ? html`<span class="plain">${text.status.active}</span>` : marks;
}

function pages() {
	const number = found.cursors.length;
	const newer = number > 1 && (() => ask({cursors: found.cursors.slice(0, -1)}));
	const older = found.next && (() => ask({cursors: [...found.cursors, found.next]}));
	return pager({number, newer, older}, text.choose);
}
