// The dialog that revokes a key. It asks once, and says what will stop working.

import {html} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {refresh, toast} from "./app.js";
import {noteBehind} from "./behind.js";
import {close, field, form, input, open} from "./dialog.js";
import {day} from "./format.js";
import {checkFields} from "./namefield.js";
import {text} from "./text.js";
import {icon, since} from "./ui.js";

// Who used the key last, if known.
function lastUse(uses) {
	if (!uses.last_at) {
		return html`<p class="notice">${icon("quiet")}<span>${text.revoke.never}</span></p>`;
	}
	const recent = api.now() - Date.parse(uses.last_at) < 7 * day;
	return html`<p class="notice ${recent ? "warning" : ""}">${icon(recent ? "warning" : "quiet")}<span>
		${recent ? html`<strong>${text.revoke.inUse}</strong> ` : ""}${text.revoke.lastUse(since(uses.last_at), uses.last_from)}</span></p>`;
}

const fields = (dialog, key, uses) => html`
	<p>${text.revoke.what(key.name, key.token_hint)}</p>
	${lastUse(uses)}
	<p>${key.owner ? text.revoke.owner(key.owner) : text.revoke.noOwner}</p>
	${field(dialog, {name: "reason", label: text.revoke.reason, optional: true, help: text.revoke.reasonHelp, input: input("reason")})}`;

export function openRevoke(key, uses) {
	open(text.revoke.title, (dialog) =>
		form(dialog, {fields: fields(dialog, key, uses), submit: text.revoke.submit, busy: text.revoke.busy, kind: "danger"}, async ({reason}) => {
			checkFields({reason});
			noteBehind(key, await api.revoke(key.workspace_id, key.id, {reason}));
			close();
			toast(text.revoke.done(key.name, key.token_hint));
			void refresh();
		}),
	);
}
