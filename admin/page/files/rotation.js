// The five steps of a rotation, derived from the two keys.

import {html, nothing} from "./vendor/lit-html.js";
import {now} from "./api.js";
import {toKey} from "./app.js";
import {day} from "./format.js";
import {endOf} from "./marks.js";
import {named} from "./named.js";
import {openRevoke} from "./revoke.js";
import {text} from "./text.js";
import {icon, since, when} from "./ui.js";
import {comparison} from "./usage.js";

// Whether a rotation is in progress: the old key and its replacement both work.
export const isRotating = ({key, other}) => other !== null && key.status === "active" && other.key.status === "active";

export function rotationView({key, uses, usage, other}) {
	if (!other) {
		return nothing;
	}
	if (!key.replaced_by) {
		return isRotating({key, other}) ? ofReplacement(other.key) : nothing;
	}
	if (key.status === "active" && other.key.status !== "active") {
		return html`<p class="notice warning">${icon("warning")}<span>${named(text.rotation.failed, other.key.status)}</span></p>`;
	}
	const steps = stepsOf({key, uses, usage}, other);
	const current = steps.findIndex((step) => !step.done);
	return html`
		<section class="card rotation" aria-labelledby="rotation">
			<h2 id="rotation">${text.rotation.title}</h2>
			<ol>${steps.map((step, i) => stepView(step, i === current, i + 1))}</ol>
		</section>`;
}

const ofReplacement = (old) => html`
	<p class="notice info">${icon("info")}<span>${text.rotation.ofReplacement(html`<b><bdi>${old.name}</bdi></b> <code>${old.token_hint}</code>`)}
		<a href=${toKey(old.id)}>${text.rotation.follow}</a></span></p>`;

function stepView({title, done, lead, more = nothing}, current, number) {
	const state = done ? "done" : current ? "current" : "waiting";
	return html`<li class=${state} aria-current=${current ? "step" : nothing}>
		<span class="number" aria-hidden="true">${done ? icon("done") : number}</span>
		<div><h3>${title} <span class="unseen">(${text.rotation[state]})</span></h3><p>${lead}</p>${more}</div>
	</li>`;
}

function stepsOf(old, replacement) {
	const {made, put, test} = text.rotation;
	const seen = replacement.uses.first_at ?? replacement.uses.last_at;
	return [
		{
			...made,
			done: true,
			lead: html`<a href=${toKey(replacement.key.id)}><bdi>${replacement.key.name}</bdi></a> <code>${replacement.key.token_hint}</code>, ${since(replacement.key.created_at)}`,
		},
		{...put, done: Boolean(seen), lead: seen ? put.done : put.waiting},
		{...test, done: Boolean(seen), lead: seen ? test.done(since(seen)) : test.waiting},
		jobs(old, replacement, seen),
		end(old),
	];
}

// Whether everything has moved to the new key can be inferred only from how long the
// old one has not been used.
function jobs(old, replacement, seen) {
	const {key, uses} = old;
	const {jobs} = text.rotation;
	const over = key.status !== "active";
	if (!uses.last_at) {
		return {...jobs, done: Boolean(seen), lead: jobs.never};
	}
	const quiet = now() - Date.parse(uses.last_at) >= day;
	const moved = Boolean(seen) && uses.last_at > seen;
	const last = since(uses.last_at);
	const lead = moved && !quiet && !over ? jobs.busy(last) : html`${jobs.quiet(last)} ${over ? nothing : jobs.quietLead}`;
	return {...jobs, done: Boolean(seen) && (quiet || (over && uses.last_at < seen)), lead, more: comparison(old, replacement)};
}

function end({key, uses}) {
	const {revoke} = text.rotation;
	if (key.status === "revoked") {
		return {...revoke, done: true, lead: revoke.revoked(when(key.revoked_at))};
	}
	if (key.status === "expired") {
		return {...revoke, done: true, lead: revoke.expired(when(key.expires_at))};
	}
	const at = endOf(key);
	const until = at === key.revokes_at ? revoke.scheduled : revoke.waiting;
	return {
		...revoke,
		done: false,
		lead: html`${until(when(at), since(at))}
			<button type="button" class="danger" @click=${() => openRevoke(key, uses)}>${revoke.submit}</button>`,
	};
}
