// The controls that say which events of the activity are shown.

import {html, nothing} from "./vendor/lit-html.js";
import {go, toActivity} from "./app.js";
import {text} from "./text.js";
import {inAddress} from "./tokens.js";
import {isFilter, operations, queryOf} from "./trail.js";
import {narrowing, pick} from "./ui.js";

export function filterView(filter) {
	const change = (changes) => go(toActivity() + queryOf({...filter, ...changes}));
	const options = [["", text.trail.any], ...operations.map((name) => [name, text.trail.operations[name]])];
	// A token does not get into the address.
	const enter = ({target: {name, value}}) => change({[name]: inAddress(value.trim())});
	const typed = (name, type) => html`
		<label class="pick by-${name}"><span>${text.trail[name]}</span>
			<input type=${type} name=${name} autocomplete="off" spellcheck="false" .value=${filter[name]} @change=${enter}>
		</label>`;
	return html`<div role="search">${narrowing(text.trail.fold, html`
		${pick("operation", text.trail.operation, filter.operation, options, (operation) => change({operation}))}
		${typed("actor", "search")}${typed("key", "search")}<span class="pair">${typed("from", "date")}${typed("to", "date")}</span>
		${isFilter(filter) ? html`<button type="button" @click=${() => go(toActivity())}>${text.trail.widen}</button>` : nothing}`)}
	</div>`;
}
