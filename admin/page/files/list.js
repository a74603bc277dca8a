// The list of a workspace's keys.

import {html, nothing} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {addPage, app, guarded, redraw, toKey, words} from "./app.js";
import {openCreate} from "./create.js";
import {findEverywhere} from "./find.js";
import {number} from "./format.js";
import {endOf, marksOf} from "./marks.js";
import {openReminders} from "./reminders.js";
import {text} from "./text.js";
import {named} from "./named.js";
import {tokenIn} from "./tokens.js";
import {badges, blank, day, icon, loading, pager, problem, since, standing} from "./ui.js";

const filters = ["active", "attention", "expired", "revoked", "all"];
const pageSize = 50;
const most = 1000; // active keys to search for urgent ones

const list = {};

function reset() {
	Object.assign(list, {filter: "active", typed: "", q: "", notice: "", cursors: [""], keys: null, next: null, failed: "", urgent: null, partly: false});
}
reset();

let asked = 0; // number of the latest request: answers to earlier ones are dropped

async function load() {
	const mine = ++asked;
	const {workspace} = app;
	try {
		const [page, urgent] = await Promise.all([read(workspace), readUrgent(workspace)]);
		if (mine !== asked || workspace !== app.workspace) {
			return;
		}
		Object.assign(list, {keys: page.keys, next: page.next_cursor, ...urgent, failed: ""});
	} catch (failure) {
		if (mine === asked && failure instanceof api.Refusal && failure.code !== "unauthorized") {
			list.failed = words(failure);
			redraw();
			return;
		}
		throw failure;
	}
}

async function read(workspace) {
	if (list.filter === "attention") {
		return {keys: null, next_cursor: null}; // readUrgent loads them
	}
	const status = list.filter === "all" ? "" : list.filter;
	let page = await api.keys(workspace, {status, q: list.q, limit: pageSize, cursor: list.cursors.at(-1)});
	while (page.keys.length === 0 && page.next_cursor) { // the search found nothing on this page
		page = await api.keys(workspace, {status, q: list.q, limit: pageSize, cursor: page.next_cursor});
	}
	return page;
}

// Finds the active keys that need attention, and sorts them: those used in a browser
// first, then by when they end.
async function readUrgent(workspace) {
	const active = [];
	let cursor = "";
	for (let seen = 0; seen < most; ) {
		const page = await api.keys(workspace, {status: "active", limit: 200, cursor});
		active.push(...page.keys);
		seen += page.keys.length;
		cursor = page.next_cursor;
		if (!cursor) {
			break;
		}
	}
	const partly = Boolean(cursor);
	const ids = new Set(active.map((key) => key.id));
	const isActive = (id) => partly || ids.has(id);
	const urgent = active.filter((key) => marksOf(key, api.now(), isActive).length > 0);
	urgent.sort((a, b) => Boolean(b.exposed_at) - Boolean(a.exposed_at) || endOf(a).localeCompare(endOf(b)));
	return {urgent, partly, isActive};
}

let shownFor = "";
addPage("keys", {
	load,
	enter() {
		if (shownFor !== app.workspace) {
			shownFor = app.workspace;
			reset();
		}
	},
});

// Loads the list with another search or filter.
function ask(changes) {
	Object.assign(list, {cursors: [""], keys: null}, changes);
	redraw();
	void guarded(load);
}

let typing;

// Searches once the user stops typing. A token is never searched for, because it
// would appear in a URL.
function search(event) {
	const last = tokenIn(event.target.value);
	list.typed = last || event.target.value;
	redraw();
	const q = list.typed.trim();
	clearTimeout(typing);
	typing = setTimeout(() => ask({q, notice: last ? text.list.tokenInSearch(last) : ""}), 200);
}

export const listView = () => html`
	<header class="head">
		<div>
			<h1 tabindex="-1">${text.title}</h1>
			<p class="lead">${text.list.lead}</p>
		</div>
		<div class="actions">
			<button type="button" @click=${openReminders}>${icon("calendar")}${text.list.reminders}</button>
			<button type="button" class="primary" @click=${openCreate}>${icon("plus")}${text.list.create}</button>
		</div>
	</header>
	${attention()}
	<div class="tools">
		<fieldset class="filters">
			<legend class="unseen">${text.list.filters}</legend>
			${filters.map(filterView)}
		</fieldset>
		<label class="search">
			<span class="unseen">${text.list.search}</span>${icon("search")}
			<input id="search" type="search" placeholder=${text.list.search} autocomplete="off" spellcheck="false" .value=${list.typed} @input=${search}>
		</label>
	</div>
	${list.notice ? html`<p class="notice warning" role="status">${icon("warning")}<span>${list.notice}</span></p>` : nothing}
	${list.failed ? problem(`${text.list.failed}: ${list.failed}`) : rows()}`;

function attention() {
	const n = list.urgent?.length ?? 0;
	if (n === 0 || list.filter === "attention") {
		return nothing;
	}
	return html`<p class="notice warning" role="status">${icon("warning")}<span>${text.list.attention(n)}
		${list.partly ? text.list.attentionPartly(most) : nothing}</span>
		<button type="button" @click=${() => ask({filter: "attention"})}>${text.list.attentionShow}</button></p>`;
}

function filterView(name) {
	const counts = {...app.summary?.keys, attention: list.urgent?.length};
	return html`<label>
		<input type="radio" name="filter" value=${name} .checked=${list.filter === name} @change=${() => ask({filter: name})}>
		<span>${text.list.filter[name]}${counts[name] === undefined ? nothing : html` <span class="count">${number(counts[name])}</span>`}</span>
	</label>`;
}

function rows() {
	const keys = list.filter === "attention" ? list.urgent?.filter(isSought) ?? null : list.keys;
	if (keys === null) {
		return loading();
	}
	if (keys.length === 0) {
		return empty();
	}
	return html`
		<table role="table" aria-label=${text.keys}>
			<thead role="rowgroup"><tr role="row">${Object.values(text.list.columns).map((name) => html`<th role="columnheader" scope="col">${name}</th>`)}</tr></thead>
			<tbody role="rowgroup">${keys.map(row)}</tbody>
		</table>
		<p class="unseen" role="status">${text.list.shown(keys.length)}</p>
		${pages()}`;
}

// Whether a key matches the search, by the server's rule.
function isSought({name, owner, token_hint: hint}) {
	const q = list.q.toLowerCase();
	return [name, owner, hint].some((part) => part.toLowerCase().includes(q));
}

function row(key) {
	const {columns} = text.list;
	return html`<tr role="row" class=${key.status}>
		<th role="rowheader" scope="row" class="name"><a href=${toKey(key.id)}><bdi>${key.name}</bdi></a>
			<span class="owner"><bdi>${key.owner || text.list.noOwner}</bdi></span></th>
		<td role="cell" data-label=${columns.access}>${named(text.preset, key.preset)?.name}</td>
		<td role="cell" data-label=${columns.token}><code>${key.token_hint}</code></td>
		<td role="cell" data-label=${columns.created}>${day(key.created_at)}</td>
		<td role="cell" data-label=${columns.used}>${key.last_used_at ? since(key.last_used_at) : text.list.never}</td>
		<td role="cell" data-label=${columns.end}>${key.status === "active" ? html`${since(endOf(key))} <span class="quietly">${day(endOf(key))}</span>` : day(key.expires_at)}</td>
		<td role="cell" data-label=${columns.status} class="state">${statusOf(key)}</td>
	</tr>`;
}

function statusOf(key) {
	const marks = badges(key, list.isActive);
	if (key.status === "revoked") {
		return html`${marks}<span class="quietly">${day(key.revoked_at)}</span>`;
	}
	if (app.summary?.suspended && key.status === "active") {
		return html`${standing(key)}${marks}`;
	}
	return key.status === "active" && marks.length === 0 ? html`<span class="plain">${text.status.active}</span>` : marks;
}

function empty() {
	if (list.q) {
		const {title, lead, clear} = text.list.noMatch;
		const everywhere = list.filter === "all" ? nothing : html`<button type="button" class="primary" @click=${() => ask({filter: "all"})}>${text.list.noMatch.everywhere}</button>`;
		const elsewhere = app.mount.workspace ? nothing : html`<button type="button" @click=${() => searchElsewhere(list.q)}>${text.list.noMatch.elsewhere}</button>`;
		return blank({title: title[list.filter], lead: lead(list.q)}, html`${everywhere}${elsewhere}<button type="button" @click=${() => ask({typed: "", q: "", notice: ""})}>${clear}</button>`);
	}
	const {active = 0, expired = 0, revoked = 0} = app.summary?.keys ?? {};
	if (active + expired + revoked === 0 || list.filter === "all") {
		const {title, lead, unsure} = text.list.empty;
		const surprising = app.mount.workspace ? "" : ` ${unsure}`; // the user typed the id
		return blank({title, lead: lead + surprising}, html`<button type="button" class="primary" @click=${openCreate}>${icon("plus")}${text.list.empty.create}</button>`);
	}
	return blank(text.list.noneOf[list.filter]);
}

function searchElsewhere(q) {
	findEverywhere(q);
	location.hash = "#/";
}

function pages() {
	if (list.filter === "attention") {
		return nothing;
	}
	const number = list.cursors.length;
	const newer = number > 1 && (() => ask({cursors: list.cursors.slice(0, -1)}));
	const older = list.next && (() => ask({cursors: [...list.cursors, list.next]}));
	return pager({number, newer, older}, text.list);
}
