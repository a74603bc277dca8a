// The controls that say which keys are listed, and in which order.

import {html, nothing} from "./vendor/lit-html.js";
import {app, go, redraw} from "./app.js";
import {number} from "./format.js";
import {list, shown, urgent} from "./loaded.js";
import {named} from "./named.js";
import {columns, ownersOf} from "./order.js";
import {isNarrowed, presets, shows, spans, toList, usualSort, widened} from "./query.js";
import {sought} from "./sought.js";
import {text} from "./text.js";
import {icon, narrowing, pick} from "./ui.js";

// Shows another page of the list, or of another list.
export const turn = (changes, options) => go(toList({...list.query, ...changes}), options);
export const ask = (changes, options) => turn({page: 1, ...changes}, options);

// Shows the keys of another status. What narrows them stays, where it makes sense.
export function show(name) {
	const {q, access, owner, within} = list.query;
	ask({show: name, q, access, owner, within: hasEnds(name) ? within : 0, sort: usualSort(name), from: ""});
}

// Whether keys of a status still end.
const hasEnds = (name) => !["expired", "revoked"].includes(name);

export const field = {typed: "", q: "", notice: ""}; // the search, and what is searched for

let pause; // in the typing

// Searches once the user stops typing.
function search(event) {
	const {value} = event.target;
	field.typed = sought(value).typed;
	redraw();
	clearTimeout(pause);
	pause = setTimeout(() => seek(value), 200);
}

export function seek(typed) {
	clearTimeout(pause);
	Object.assign(field, sought(typed));
	ask({q: field.q, from: ""}, {replace: true});
}

// Puts what the address asks for into the search, unless that is what was typed.
export function follow({q}) {
	if (field.q !== q) {
		Object.assign(field, {typed: q, q, notice: ""});
	}
}

export const toolsView = () => html`
	<div class="tools">
		<fieldset class="filters">
			<legend class="unseen">${text.list.filters}</legend>
			${shows.map(showView)}
		</fieldset>
		<label class="search">
			<span class="unseen">${text.list.search}</span>${icon("search")}
			<input id="search" type="search" placeholder=${text.list.search} autocomplete="off" spellcheck="false" .value=${field.typed} @input=${search}>
		</label>
	</div>`;

export const narrowView = () =>
	narrowing(text.arrange.fold, [accessView(), ownerView(), hasEnds(list.query.show) ? endView() : nothing, sortView(), isNarrowed(list.query) ? matched() : nothing]);

function showView(name) {
	const counts = {...app.summary?.keys, attention: urgent()?.length};
	return html`<label>
		<input type="radio" name="filter" value=${name} .checked=${list.query.show === name} @change=${() => show(name)}>
		<span>${text.list.filter[name]}${counts[name] === undefined ? nothing : html` <span class="count">${number(counts[name])}</span>`}</span>
	</label>`;
}

function accessView() {
	const options = [["", text.arrange.any], ...presets.map((preset) => [preset, named(text.preset, preset).name])];
	return pick("access", text.list.columns.access, list.query.access, options, (access) => ask({access}));
}

// An owner's value begins with "=", so that none is not the same as any.
function ownerView() {
	const {owner} = list.query;
	const owners = ownersOf([...(list.keys ?? []), ...(owner === null ? [] : [{owner}])]);
	const options = [["", text.arrange.any], ...owners.map((name) => [`=${name}`, name || text.list.noOwner])];
	return pick("owner", text.key.owner, owner === null ? "" : `=${owner}`, options, (value) => ask({owner: value ? value.slice(1) : null}));
}

function endView() {
	const options = [["0", text.arrange.any], ...spans.map((days) => [`${days}`, text.arrange.within(days)])];
	return pick("within", text.list.columns.end, `${list.query.within}`, options, (days) => ask({within: Number(days)}));
}

// Where rows are cards there are no columns to press.
function sortView() {
	const options = Object.keys(columns).flatMap((name) => [`${name}`, `-${name}`]).map((sort) => [sort, text.arrange.sorted[sort]]);
	return pick("sort", text.arrange.sort, list.query.sort, options, (sort) => ask({sort}));
}

function matched() {
	const n = shown()?.flat().length;
	const all = shown({...list.query, ...widened})?.flat().length;
	return html`<div class="matched"><span role="status">${n === undefined ? nothing : text.arrange.matched(n, all)}</span>
		${n > 0 ? html`<button type="button" @click=${() => ask(widened)}>${text.arrange.widen}</button>` : nothing}</div>`;
}
