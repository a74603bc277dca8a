// The dialog that rotates a key.

import {html} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {refresh, toKey} from "./app.js";
import {noteBehind} from "./behind.js";
import {field, form, open} from "./dialog.js";
import {showToken} from "./made.js";
import {checkFields, nameField, ownerField} from "./namefield.js";
import {text} from "./text.js";
import {dropdown} from "./ui.js";

// The old key stays active until it is revoked. If it leaked through a browser, it
// ends after a day unless the user chooses otherwise.
const usualWait = (key) => (key.leaked_at || key.exposed_at ? "24h" : "");

const oldField = (dialog, usual) =>
	field(dialog, {
		name: "revoke_old_in",
		label: text.rotate.old,
		input: (state) => dropdown("revoke_old_in", usual, Object.entries(text.rotate.oldOptions), {id: "revoke_old_in", ...state}),
	});

const fields = (dialog, key) => html`
	<p>${text.rotate.lead}</p>
	${nameField(dialog, {label: text.rotate.name, help: text.rotate.nameHelp, value: key.name})}
	${ownerField(dialog, key.owner)}
	${oldField(dialog, usualWait(key))}`;

export function openRotate(key) {
	open(text.rotate.title(key.name), (dialog) =>
		form(dialog, {fields: fields(dialog, key), submit: text.rotate.submit, busy: text.rotate.busy}, async ({name, owner, revoke_old_in: wait}) => {
			checkFields({name, owner});
			const made = await api.rotate(key.workspace_id, key.id, {name, owner, ...(wait && {revoke_old_in: wait})});
			showToken(made.key, made.token, () => {
				if (made.replaced.status === "revoked") {
					noteBehind(key, made); // now, since nobody is told of what happens behind a dialog
				}
				location.hash = toKey(key.id, key.workspace_id);
			});
			void refresh();
		}),
	);
}
