// Which keys of the list are selected, to be revoked together.

import {html, nothing} from "./vendor/lit-html.js";
import {redraw} from "./app.js";
import {list} from "./loaded.js";
import {openRevokeMany} from "./revokemany.js";
import {text} from "./text.js";
import {icon} from "./ui.js";

const chosen = new Set(); // ids, some of which may have ended

export const deselect = () => chosen.clear();

// The selected keys that are still active.
const selected = () => (list.keys ?? []).filter(({id, status}) => status === "active" && chosen.has(id));

function choose(keys, on) {
	for (const {id} of keys) {
		if (on) {
			chosen.add(id);
		} else {
			chosen.delete(id);
		}
	}
	redraw();
}

// The box that selects a key.
export const selectBox = (key) => html`
	<label class="select"><span class="unseen">${text.select.one(key.name, key.token_hint)}</span>
		<input type="checkbox" .checked=${chosen.has(key.id)} @change=${(event) => choose([key], event.target.checked)}></label>`;

// The box that selects all active keys of a page.
export function selectAllBox(keys) {
	const active = keys.filter(({status}) => status === "active");
	const n = active.filter(({id}) => chosen.has(id)).length;
	return html`
		<label class="select"><span class="unseen">${text.select.all}</span>
			<input type="checkbox" .checked=${n > 0 && n === active.length} .indeterminate=${n > 0 && n < active.length}
				@change=${(event) => choose(active, event.target.checked)}></label>`;
}

// How many keys are selected, for screen readers.
export function selectionStatus() {
	const n = selected().length;
	return html`<p class="unseen" role="status">${n > 0 ? text.select.count(n) : nothing}</p>`;
}

// What can be done with the selected keys, or null if there are none.
export function selectionView() {
	const keys = selected();
	if (keys.length === 0) {
		return null;
	}
	return html`<div class="selection" role="group" aria-label=${text.select.title}>
		<span>${text.select.count(keys.length)}</span>
		<button type="button" class="danger" @click=${() => openRevokeMany(keys, deselect)}>${icon("revoked")}${text.select.revoke}</button>
		<button type="button" @click=${() => choose(keys, false)}>${text.select.none}</button>
	</div>`;
}
