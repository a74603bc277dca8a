// What some gateways of a fleet have not confirmed yet.

import {html, nothing} from "./vendor/lit-html.js";
import {redraw} from "./app.js";
import {text} from "./text.js";

const pending = new Map(); // which gateways may still allow requests with a key, by its name

// Remembers what the answer to a revocation says, until the reader has seen it.
export function noteBehind({name, token_hint: hint}, {propagation}) {
	if (propagation?.state === "pending") {
		pending.set(`${name} (${hint})`, propagation.behind ?? []);
		redraw();
	}
}

function dismiss() {
	pending.clear();
	redraw();
}

export const behindView = () =>
	pending.size === 0
		? nothing
		: html`<div class="lost" role="alert"><span>${text.revoke.behind([...pending.keys()].join(", "), [...new Set([...pending.values()].flat())].join(", "))}</span>
			<button type="button" @click=${dismiss}>${text.close}</button></div>`;
