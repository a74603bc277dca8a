// The keys that the list shows, as loaded from the server.

import * as api from "./api.js";
import {app, go, redraw, toKeys, words} from "./app.js";
import {isUrgent, marksOf} from "./marks.js";
import {arranged} from "./order.js";
import {isSame, readQuery, toList} from "./query.js";
import {listedDays} from "./usage.js";

// The server lists keys newest first and a page at a time. The list reads as many of them
// as can be sorted and filtered at a time. None of it costs the server more than looking at
// so many keys does.
export const most = 1000;
const pageSize = 200;
const patience = 20; // pages, of which a search may find few keys or none

export const list = {};

const forget = () => Object.assign(list, {keys: null, next: null, failed: ""});

// Prepares the list for what the address asks for, and reports whether these are other
// keys than before. What has been loaded is kept as long as it is of use.
export function enter() {
	const query = readQuery(app.route.query);
	if (list.workspace !== app.workspace) {
		Object.assign(list, {workspace: app.workspace, query: null, active: null, partly: false, usage: {}});
	}
	if (!list.query || sourceOf(list.query) !== sourceOf(query)) {
		forget();
	}
	const others = !list.query || !isSame(list.query, query);
	list.query = query;
	return others;
}

// The address of the list as it was shown last.
export const lastAddress = () => (list.query && list.workspace === app.workspace ? toList(list.query) : toKeys());

const statusOf = ({show}) => ({all: "", attention: "active"})[show] ?? show;
const sourceOf = (query) => JSON.stringify([statusOf(query), query.q.trim(), query.from]);

let asked = 0; // number of the latest request: answers to earlier ones are dropped

export async function load() {
	const mine = ++asked;
	const {workspace, query} = list;
	try {
		const all = read(workspace, {status: "active"});
		const isAll = sourceOf(query) === sourceOf({show: "active", q: "", from: ""});
		const [active, found] = await Promise.all([all, isAll ? all : read(workspace, {status: statusOf(query), q: query.q.trim(), cursor: query.from})]);
		if (mine === asked && workspace === app.workspace) {
			Object.assign(list, {active: new Map(active.keys.map((key) => [key.id, key])), partly: Boolean(active.next), ...found, failed: ""});
			redraw();
			await loadUsage(workspace, onPage().groups.flat().map(({id}) => id));
		}
	} catch (failure) {
		if (mine === asked && failure.code === "invalid_cursor") { // an address from before its key was deleted
			go(toList({...query, page: 1, from: ""}), {replace: true});
			return;
		}
		if (mine === asked && failure instanceof api.Refusal && failure.code !== "unauthorized") {
			list.failed = words(failure);
			redraw();
			return;
		}
		throw failure;
	}
}

// Reads keys from a cursor on, and returns the cursor of the next ones, if there are more.
async function read(workspace, {status, q, cursor = ""}) {
	const keys = [];
	let next = cursor;
	for (let pages = 0; pages < patience && keys.length < most; pages++) {
		const page = await api.keys(workspace, {status, q, limit: pageSize, cursor: next});
		keys.push(...page.keys);
		next = page.next_cursor;
		if (!next) {
			break;
		}
	}
	return {keys, next};
}

// Loads how often the keys of a page were used. The list is of use without.
async function loadUsage(workspace, ids) {
	if (ids.length === 0) {
		return;
	}
	try {
		const {usage} = await api.usage(workspace, ids.slice(0, pageSize), listedDays);
		list.usage = {...list.usage, ...usage};
	} catch (failure) {
		if (!(failure instanceof api.Refusal) || failure.code === "unauthorized") {
			throw failure;
		}
	}
}

// The active key that an active key is being replaced by. It is newer, so it has been
// loaded if that key has.
export const replacementOf = (key) => (key.status === "active" && key.replaced_by ? list.active?.get(key.replaced_by) : undefined);

// The active keys that need attention, as far as they are loaded.
export const urgent = () => list.active && [...list.active.values()].filter((key) => isUrgent(marksOf(key, api.now(), replacementOf)));

// The keys that a query asks for, such as that of the address, in groups of which the first replaces the others.
export const shown = (query = list.query) => list.keys && arranged(list.keys, query, replacementOf);

const shownAtOnce = 50; // groups

// The groups on the page that the address asks for, which page that is, and of how many.
export function onPage() {
	const groups = shown();
	const pages = Math.max(1, Math.ceil(groups.length / shownAtOnce));
	const number = Math.min(list.query.page, pages);
	return {groups: groups.slice((number - 1) * shownAtOnce, number * shownAtOnce), number, pages};
}

