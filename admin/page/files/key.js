// One key: what it is, what can be done with it, and its rotation.

import {html, nothing} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {addPage, app, redraw, toActivity, toKey, words} from "./app.js";
import {lastAddress} from "./loaded.js";
import {named} from "./named.js";
import {openRename} from "./rename.js";
import {openRevoke} from "./revoke.js";
import {openRotate} from "./rotate.js";
import {download} from "./reminders.js";
import {isRotating, rotationView} from "./rotation.js";
import {text} from "./text.js";
import {queryOf} from "./trail.js";
import {comparedDays, daysAsked, usageView} from "./usage.js";
import {badges, blank, copyButton, icon, loading, problem, since, standing, when} from "./ui.js";

const shown = {id: "", key: null, uses: null, usage: [], other: null, failed: "", missing: false, copied: {}};

const forget = (id) => Object.assign(shown, {id, key: null, uses: null, usage: [], other: null, failed: "", missing: false, copied: {}});

addPage("key", {
	enter() {
		if (shown.id !== app.route.id) {
			forget(app.route.id);
		}
	},
	async load() {
		const {workspace, route} = app;
		try {
			const found = await read(workspace, route.id);
			if (shown.id === route.id) {
				Object.assign(shown, found, {failed: "", missing: false});
			}
		} catch (failure) {
			if (!(failure instanceof api.Refusal) || failure.code === "unauthorized") {
				throw failure;
			}
			Object.assign(shown, {missing: failure.code === "not_found", failed: words(failure)});
			redraw();
		}
	},
	watching: () => shown.key !== null && isRotating(shown),
});

// Loads a key, and the key it replaces or is replaced by.
async function read(workspace, id) {
	const one = await readOne(workspace, id);
	const otherID = one.key.replaced_by ?? one.key.replaces;
	return {...one, other: otherID ? await readOne(workspace, otherID) : null};
}

// Loads a key, with when and how often it was used.
async function readOne(workspace, id) {
	const days = Math.max(daysAsked(), comparedDays);
	const use = Promise.all([api.uses(workspace, id), api.usage(workspace, [id], days)]);
	use.catch(() => {}); // whether there is such a key is for the call about the key to say
	const {key} = await api.key(workspace, id);
	const [{uses}, {usage}] = await use;
	return {key, uses, usage: usage[id] ?? []};
}

export function keyView() {
	if (shown.missing) {
		const {missing: title, missingLead: lead} = text.key;
		return html`${back()}<h1 class="unseen" tabindex="-1">${title}</h1>${blank({title, lead})}`;
	}
	if (!shown.key) {
		return html`${back()}<h1 class="unseen" tabindex="-1">${text.keys}</h1>${shown.failed ? problem(`${text.key.failed}: ${shown.failed}`) : loading()}`;
	}
	const {key} = shown;
	return html`
		${back()}
		<header class="head">
			<div>
				<h1 tabindex="-1"><bdi>${key.name}</bdi></h1>
				<p class="badges">${key.status === "active" ? standing(key) : nothing}${badges(key, () => (isRotating(shown) && key.replaced_by ? shown.other.key : undefined))}</p>
			</div>
			${key.status === "active" ? actions() : nothing}
		</header>
		${notices(key)}
		${rotationView(shown)}
		${facts(shown)}
		${usageView(key, shown.usage)}
		<p><a href="${toActivity()}${queryOf({key: key.id})}">${text.trail.ofKey}</a></p>`;
}

const back = () => html`<p class="back"><a href=${lastAddress()}>${icon("back")}${text.key.back}</a></p>`;

function actions() {
	const {key, uses} = shown;
	return html`<div class="actions">
		<button type="button" @click=${() => openRename(key)}>${text.key.rename}</button>
		<button type="button" @click=${() => download(key)}>${text.key.remind}</button>
		${isRotating(shown) && key.replaced_by ? nothing : html`<button type="button" @click=${() => openRotate(key)}>${text.key.rotate}</button>`}
		<button type="button" class="danger" @click=${() => openRevoke(key, uses)}>${text.key.revoke}</button>
	</div>`;
}

function notices(key) {
	const {leaked, exposed, ended} = text.key;
	const warn = (at, about) =>
		key.status === "active" && at
			? html`<div class="notice danger">${icon("danger")}<span><strong>${about.title}.</strong> ${about.since(since(at))} ${about.lead}</span></div>`
			: nothing;
	return [
		key.status === "active" ? nothing : html`<p class="notice">${icon(key.status)}<span>${named(ended, key.status)}</span></p>`,
		warn(key.leaked_at, leaked),
		warn(key.exposed_at, exposed),
	];
}

function facts({key, uses, other}) {
	const of = text.key;
	const ends = key.status === "active" && key.revokes_at;
	const all = [
		[of.access, html`${named(text.preset, key.preset)?.name} <span class="quietly">${named(text.preset, key.preset)?.lead}</span>`],
		[of.token, html`<code>${key.token_hint}</code>`],
		[of.owner, html`<bdi>${key.owner || text.list.noOwner}</bdi>`],
		[of.created, html`${when(key.created_at)} <span class="quietly">${of.by(key.created_by)}</span>`],
		[of.firstUsed, uses.first_at && when(uses.first_at)],
		[of.used, used(uses)],
		[of.revokes, ends && html`${when(key.revokes_at)} <span class="quietly">${since(key.revokes_at)}</span>`],
		[of.revoked, key.revoked_at && html`${when(key.revoked_at)} ${key.revoked_by ? html`<span class="quietly">${of.by(key.revoked_by)}</span>` : nothing}`],
		[of.reason, key.revoke_reason && html`<bdi>${key.revoke_reason}</bdi>`],
		[of.expires, html`${when(key.expires_at)} <span class="quietly">${since(key.expires_at)}</span>`],
		[of.replaces, key.replaces && link(key.replaces, other)],
		[of.replacedBy, key.replaced_by && link(key.replaced_by, other)],
		[of.id, html`<code>${key.id}</code> ${copyButton(of.copyId, key.id, {copied: shown.copied})}`],
	];
	return html`<dl class="facts">${all.map(([name, value]) => (value ? html`<div><dt>${name}</dt><dd>${value}</dd></div>` : nothing))}</dl>`;
}

const used = (uses) =>
	uses.last_at
		? html`${when(uses.last_at)} <span class="quietly">${since(uses.last_at)}${uses.last_from ? html` ${text.key.usedFrom(uses.last_from)}` : nothing}</span>`
		: text.list.never;

const link = (id, other) => html`<a href=${toKey(id)}><bdi>${other?.key.id === id ? other.key.name : id}</bdi></a>${other?.key.id === id ? html` <code>${other.key.token_hint}</code>` : nothing}`;

// Who did something, in words if the actor is not a person's name.
export const actorOf = (actor) => named(text.events.actors, actor) ?? actor;
