// Reading the audit trail of a workspace, of which a filter leaves some events.

import * as api from "./api.js";
import {gather} from "./gather.js";
import {named} from "./named.js";
import {text} from "./text.js";
import {inAddress} from "./tokens.js";

export const operations = ["create", "update", "rotate", "revoke", "revoke_all", "suspend", "resume", "expose", "leak", "lookup", "import", "restore", "backup", "calendar_feed", "calendar_feed_revoke"];

const isDate = (words) => /^\d{4}-\d{2}-\d{2}$/.test(words) && !Number.isNaN(Date.parse(words));

// Reads a filter from an address. A token is not sought: what was given may be in an
// address.
export function readFilter(given) {
	const words = (name) => inAddress((given.get(name) ?? "").trim());
	const date = (name) => (isDate(given.get(name) ?? "") ? given.get(name) : "");
	const operation = given.get("operation") ?? "";
	return {operation: operations.includes(operation) ? operation : "", actor: words("actor"), key: words("key"), from: date("from"), to: date("to")};
}

export const isFilter = (filter) => Object.values(filter).some(Boolean);

// The query of an address that asks for a filter.
export function queryOf(filter) {
	const given = Object.entries(filter).filter(([, value]) => value);
	return given.length > 0 ? `?${new URLSearchParams(given)}` : "";
}

// When a day begins where the reader is, or one that is so many days later.
function startOf(date, later = 0) {
	const [year, month, day] = date.split("-").map(Number);
	return new Date(year, month - 1, day + later).getTime();
}

const limit = 200; // events that are read at a time
const patience = 20; // pages of keys, of which a search may find few or none

// Reads the events from a cursor on that a filter leaves, newest first: at least as many as
// are enough, unless there are fewer, or none in that many pages. Returns them with the
// cursor of the next ones, or null, and when the last event was that was looked at.
export async function read(workspace, filter, {cursor = "", enough, pages, onPage = () => {}}) {
	const matches = await matcherOf(workspace, filter);
	const found = [];
	let next = cursor;
	let reached = "";
	for (let page = 0; page < pages && found.length < enough; page++) {
		const answer = await api.events(workspace, {limit: isFilter(filter) ? limit : Math.min(limit, enough - found.length), cursor: next});
		found.push(...answer.events.filter(matches));
		next = answer.next_cursor;
		reached = answer.events.at(-1)?.at ?? reached;
		onPage(found.length);
		if (!next || (filter.from && Date.parse(reached) < startOf(filter.from))) {
			return {events: found, next: null, reached};
		}
	}
	return {events: found, next, reached};
}

async function matcherOf(workspace, {operation, actor, key, from, to}) {
	const isAbout = key ? await aboutKey(workspace, key) : () => true;
	const start = from ? startOf(from) : -Infinity;
	const end = to ? startOf(to, 1) : Infinity;
	return (event) =>
		(!operation || event.operation === operation) &&
		[event.actor, named(text.events.actors, event.actor) ?? ""].some((one) => holds(one, actor)) &&
		Date.parse(event.at) >= start &&
		Date.parse(event.at) < end &&
		isAbout(event);
}

const holds = (whole, part) => whole.toLocaleLowerCase().includes(part.toLocaleLowerCase());

// Events name keys by their ids: what the reader knows of a key is looked up first. A key
// that has been deleted since is known by the name in its events.
async function aboutKey(workspace, words) {
	const ids = await idsOf(workspace, words);
	return ({key_id: id, details}) =>
		[id, details.replaced_by, ...(details.key_ids ?? [])].some((one) => ids.has(one)) || holds(details.name ?? "", words);
}

const mostKeys = 200;

async function idsOf(workspace, words) {
	if (/^key_\w{26}$/i.test(words)) {
		return new Set([`key_${words.slice(4).toUpperCase()}`]);
	}
	const search = async (page) => {
		const {keys, next_cursor} = await api.keys(workspace, {q: words, ...page});
		return {entries: keys, next_cursor};
	};
	let found = [];
	let pages = 0;
	await gather(search, {cursor: "", size: mostKeys}, (keys) => {
		found = keys;
		return ++pages < patience;
	});
	return new Set(found.map((key) => key.id));
}
