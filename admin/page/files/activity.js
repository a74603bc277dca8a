// The audit trail of a workspace, as sentences.

import {html, nothing} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {addPage, app, guarded, redraw, toKey, words} from "./app.js";
import {dayOf, timeOfDay} from "./format.js";
import {actorOf} from "./key.js";
import {exporting, exportTrail} from "./export.js";
import {named} from "./named.js";
import {language, text} from "./text.js";
import {isFilter, read, readFilter} from "./trail.js";
import {filterView} from "./trailfilter.js";
import {blank, icon, loading, pager, problem, when} from "./ui.js";

const pageSize = 50;
const mostPages = 10; // to be read at a time where a filter leaves few events
const trail = {};
const names = new Map(); // the keys that events are about, by id

function reset() {
	Object.assign(trail, {filter: readFilter(app.route.query), cursors: [""], events: null, next: null, reached: "", failed: ""});
	names.clear();
}

let asked = 0;

async function load() {
	const mine = ++asked;
	const {workspace} = app;
	try {
		const found = await read(workspace, trail.filter, {cursor: trail.cursors.at(-1), enough: pageSize, pages: mostPages});
		await learnNames(workspace, found.events);
		if (mine === asked && workspace === app.workspace) {
			Object.assign(trail, {...found, failed: ""});
		}
	} catch (failure) {
		if (!(failure instanceof api.Refusal) || failure.code === "unauthorized") {
			throw failure;
		}
		if (mine === asked) {
			trail.failed = words(failure);
			redraw();
		}
	}
}

// Events name keys by their ids; people know them by their names.
async function learnNames(workspace, events) {
	const ids = new Set(events.flatMap((event) => [event.key_id, event.details.replaced_by]).filter((id) => id && !names.has(id)));
	await Promise.all(
		[...ids].map(async (id) => {
			try {
				const {key} = await api.key(workspace, id);
				names.set(id, key);
			} catch (failure) {
				if (failure.code !== "not_found") {
					throw failure;
				}
			}
		}),
	);
}

addPage("activity", {
	load,
	enter: reset,
});

function turn(cursors) {
	Object.assign(trail, {cursors, events: null});
	redraw();
	void guarded(load);
}

export const activityView = () => html`
	<header class="head"><div>
		<h1 tabindex="-1">${text.events.title}</h1>
		<p class="lead">${text.events.lead}</p>
	</div>
	<div class="actions">${exportButton()}</div></header>
	${filterView(trail.filter)}
	${trail.failed ? problem(`${text.events.failed}: ${trail.failed}`) : listed()}`;

function exportButton() {
	const found = exporting();
	return html`<button type="button" aria-disabled=${found === null ? "false" : "true"} @click=${() => exportTrail(trail.filter)}>
		${icon("download")}<span aria-live="polite">${found === null ? text.trail.export : text.trail.exporting(found)}</span></button>`;
}

function listed() {
	if (!trail.events) {
		return loading();
	}
	const number = trail.cursors.length;
	const newer = number > 1 && (() => turn(trail.cursors.slice(0, -1)));
	const older = trail.next && (() => turn([...trail.cursors, trail.next]));
	return html`
		${trail.events.length === 0 ? none() : nothing}
		${trail.next && isFilter(trail.filter) ? html`<p class="notice">${icon("info")}<span>${text.trail.reached(when(trail.reached))}</span></p>` : nothing}
		${[...Map.groupBy(trail.events, (event) => dayOf(event.at))].map(
			([day, events]) => html`<section class="day"><h2>${day}</h2><ol class="events">${events.map(eventView)}</ol></section>`,
		)}
		${pager({number, newer, older}, {...text.events, page: text.list.page})}`;
}

const none = () => blank(isFilter(trail.filter) ? text.trail.none : text.events.empty);

const kinds = {create: "created", rotate: "info", revoke: "revoked", revoke_all: "revoked", suspend: "revoked", expose: "danger", leak: "danger", update: "changed", calendar_feed: "calendar"};

function eventView(event) {
	const {refused: code, reason} = event.details;
	return html`<li class=${code ? "refused" : event.operation}>
		<span class="sign">${icon(named(kinds, event.operation) ?? "key")}</span>
		<div>
			<p><b><bdi>${who(event.actor)}</bdi></b> ${sentence(event)}.
				${code ? html`<span class="badge danger">${text.events.refused}</span> ${named(text.events.refusals, code) ?? code}.` : nothing}</p>
			<p class="quietly">${when(event.at, timeOfDay(event.at))}
				${event.remote_ip ? text.events.from(event.remote_ip) : nothing}
				${reason ? html`· <bdi>${text.events.reason(reason)}</bdi>` : nothing}</p>
		</div>
	</li>`;
}

// Who did something, as the beginning of a sentence.
function who(actor) {
	const words = actorOf(actor);
	return words === actor ? actor : words[0].toLocaleUpperCase(language) + words.slice(1);
}

function sentence({operation, key_id: id, details}) {
	const {did, tried, other, triedOther} = text.events;
	const subject = {
		key: keyName(id, details.name),
		name: details.name,
		preset: named(text.preset, details.preset)?.name,
		revoked: details.revoked,
	};
	if (details.refused) {
		return named(tried, operation)?.(subject) ?? triedOther(operation);
	}
	if (operation === "update") {
		return changes(subject, details);
	}
	return named(did, operation)?.(subject) ?? other(operation);
}

function changes(subject, {name, name_before: before, owner}) {
	const {renamed, owner: given, noOwner, update} = text.events.did;
	if (name !== undefined) {
		return renamed({before, after: name});
	}
	if (owner !== undefined) {
		return owner ? given({...subject, after: owner}) : noOwner(subject);
	}
	return update(subject);
}

// A key by its name and the last characters of its token: a rotated key and its
// replacement often have the same name.
function keyName(id, name) {
	if (!id) {
		return name ?? text.events.key;
	}
	const key = names.get(id);
	return html`<a href=${toKey(id)}><bdi>${key?.name ?? name ?? id}</bdi></a>${key ? html` <code>${key.token_hint}</code>` : nothing}`;
}
