// Small building blocks of views.

import {html, nothing} from "./vendor/lit-html.js";
import {now} from "./api.js";
import {app, redraw} from "./app.js";
import {date, distance, time, utc} from "./format.js";
import {marksOf} from "./marks.js";
import {named} from "./named.js";
import {text} from "./text.js";

// A time in the reader's zone, with the exact UTC time as a tooltip.
export const when = (at, words = time(at)) => html`<time datetime=${at} title=${utc(at)}>${words}</time>`;
export const day = (at) => when(at, date(at));
export const since = (at) => when(at, distance(at, now()));

const icons = {
	danger: "M12 3 2.5 20h19L12 3Zm0 6.5v5m0 2.6v.1",
	warning: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17ZM12 7.5V12l3 2",
	info: "M4.5 12a7.5 7.5 0 0 1 13-5.1L20 9.5M20 4.5v5h-5M19.5 12a7.5 7.5 0 0 1-13 5.1L4 14.5m0 5v-5h5",
	quiet: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10Z",
	copy: "M9 9h10v11H9zM5 15V4h10",
	done: "m5 12.5 4.5 4.5L19 7.5",
	search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13Zm5 11.5L20 20",
	plus: "M12 5v14M5 12h14",
	back: "m14 6-6 6 6 6",
	calendar: "M4.5 6.5h15v13h-15zM4.5 10.5h15M8.5 4v4m7-4v4",
	key: "M8.5 11.5a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM11.5 12.5 19 5m-3 3 3 3",
	created: "M12 5v14M5 12h14",
	revoked: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17ZM6 6l12 12",
	expired: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17ZM12 7.5V12l3 2",
	changed: "m5 19 1-4L16 5l3 3L9 18l-4 1Z",
	active: "m5 12.5 4.5 4.5L19 7.5",
	download: "M12 4v11m-5-4.5 5 5 5-5M5 20h14",
	filter: "M4 6.5h16M7 12h10M10 17.5h4",
	more: "M5.5 12h.01M12 12h.01M18.5 12h.01",
};

export const icon = (name) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${named(icons, name) ?? icons.key}></path></svg>`;

export const badge = (kind, words) => html`<span class="badge ${kind}">${icon(kind)}${words}</span>`;

// A key's badges: its status unless it is active, and its marks.
export function badges(key, replacementOf) {
	if (key.status !== "active") {
		return badge(key.status, named(text.status, key.status));
	}
	return marksOf(key, now(), replacementOf).map(({kind, words}) => badge(kind, words));
}

// What a key can be used for now; nothing while its workspace is suspended.
export const standing = (key) =>
	app.summary?.suspended ? badge("danger", text.status.suspended) : badge(key.status, named(text.status, key.status));

export const problem = (words) => (words ? html`<p class="notice danger" role="alert">${icon("danger")}<span>${words}</span></p>` : nothing);

// What is wrong with a field, which names this as its description.
export const wrong = (id, words) => html`<p class="wrong" id=${id} role="alert">${words}</p>`;

// What is shown if there is nothing to list.
export const blank = (what, action = nothing) => html`
	<div class="blank">
		${icon("key")}
		<h2>${what.title}</h2>
		<p>${what.lead}</p>
		${action}
	</div>`;

export const loading = () => html`<p class="loading" role="status">${text.loading}</p>`;

export const pager = ({number, newer, older}, {page, newer: newerWords, older: olderWords}) =>
	newer || older
		? html`<nav class="pager" aria-label=${page(number)}>
				<button type="button" ?disabled=${!newer} @click=${newer}>${newerWords}</button>
				<span>${page(number)}</span>
				<button type="button" ?disabled=${!older} @click=${older}>${olderWords}</button>
			</nav>`
		: nothing;

// A choice among options, each a value and its words.
export const dropdown = (name, chosen, options, {id = nothing, choose = () => {}, wrong = false, described = nothing} = {}) => html`
	<span class="dropdown"><select id=${id} name=${name} aria-describedby=${described} aria-invalid=${wrong ? "true" : "false"} @change=${(event) => choose(event.target.value)}>
		${options.map(([value, words]) => html`<option value=${value} .selected=${value === chosen}>${words}</option>`)}
	</select></span>`;

// The same with a label next to it.
export const pick = (name, label, chosen, options, choose) => html`
	<label class="pick by-${name}"><span>${label}</span>${dropdown(name, chosen, options, {choose})}</label>`;

let folded = true; // on a phone, where choices would fill the screen

// Choices that narrow what is listed. On a phone they are behind a button.
export function narrowing(words, choices) {
	const turn = () => {
		folded = !folded;
		redraw();
	};
	return html`<div class="narrow ${folded ? "folded" : ""}">
		<button type="button" class="fold" aria-expanded=${folded ? "false" : "true"} @click=${turn}>${icon("filter")}${words}</button>
		${choices}
	</div>`;
}

// A button that copies a text and confirms it. Without HTTPS, browsers do not let a
// page copy, so it selects the text instead.
export function copyButton(words, value, {primary = false, copied = {}, source = "", onCopy = () => {}} = {}) {
	const copy = async () => {
		try {
			await navigator.clipboard.writeText(value);
			copied.state = "copied";
			onCopy();
		} catch {
			copied.state = "failed";
			select(source);
		}
		redraw();
	};
	return html`<button type="button" class=${primary ? "primary" : ""} @click=${copy}>
			${icon(copied.state === "copied" ? "done" : "copy")}<span aria-live="polite">${copied.state === "copied" ? text.made.copied : words}</span>
		</button>${copied.state === "failed" ? html`<p class="hint" role="alert">${text.made.copyFailed}</p>` : nothing}`;
}

function select(source) {
	const element = document.querySelector(source);
	if (element) {
		getSelection().selectAllChildren(element);
	}
}
