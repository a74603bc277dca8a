// The dialog that revokes several keys. It names them all, asks once, and says of each
// whether it was revoked.

import {html, nothing} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {redraw, refresh, toast, words} from "./app.js";
import {noteBehind} from "./behind.js";
import {close, field, form, input, Mistake, open} from "./dialog.js";
import {checkFields} from "./namefield.js";
import {text} from "./text.js";
import {icon, since} from "./ui.js";

// Revokes keys one after the other; each is marked as soon as its outcome is known.
// Afterwards done is called.
export function openRevokeMany(keys, done) {
	const items = keys.map((key) => ({key, revoked: false, failed: ""}));
	const left = () => items.filter(({revoked}) => !revoked);
	open(text.revokeMany.title(items.length), (dialog) =>
		form(dialog, {fields: fields(dialog, items), submit: text.revokeMany.submit(left().length), busy: text.revoke.busy, kind: "danger"}, async ({reason}) => {
			checkFields({reason});
			try {
				for (const item of left()) {
					await revoke(item, reason);
				}
			} finally {
				void refresh();
			}
			if (left().length > 0) {
				throw new Mistake("", text.revokeMany.failed(left().length));
			}
			close();
			done();
			toast(text.revokeMany.done(items.length));
		}),
	);
}

async function revoke(item, reason) {
	item.failed = "";
	try {
		noteBehind(item.key, await api.revoke(item.key.workspace_id, item.key.id, {reason}));
		item.revoked = true;
	} catch (failure) {
		if (!(failure instanceof api.Refusal) || failure.code === "unauthorized") {
			throw failure;
		}
		item.failed = words(failure);
	}
	redraw();
}

const fields = (dialog, items) => html`
	<p>${text.revokeMany.what}</p>
	<ul class="several" tabindex="0" aria-label=${text.select.title}>${items.map(itemView)}</ul>
	${progress(dialog, items)}
	${field(dialog, {name: "reason", label: text.revoke.reason, optional: true, help: text.revoke.reasonHelp, input: input("reason")})}`;

const itemView = ({key, revoked, failed}) => html`
	<li class=${revoked ? "done" : failed ? "failed" : ""}>
		<b><bdi>${key.name}</bdi></b> <code>${key.token_hint}</code>
		<span class="quietly"><bdi>${key.owner || text.list.noOwner}</bdi> · ${key.last_used_at ? html`${text.revokeMany.used} ${since(key.last_used_at)}` : text.revokeMany.unused}</span>
		${revoked ? html`<span class="badge active">${icon("done")}${text.status.revoked}</span>` : nothing}
		${failed ? html`<span class="wrong">${failed}</span>` : nothing}
	</li>`;

function progress({busy}, items) {
	const n = items.filter(({revoked}) => revoked).length;
	return html`<div class="progress" role="status">${busy || n > 0
		? html`<progress aria-label=${text.revoke.busy} max=${items.length} value=${n}></progress><span>${text.revokeMany.progress(n, items.length)}</span>`
		: nothing}</div>`;
}
