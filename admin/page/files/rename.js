// The dialog that changes a key's name and owner.

import {html} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {refresh, toast} from "./app.js";
import {close, form, open} from "./dialog.js";
import {checkFields, nameField, ownerField} from "./namefield.js";
import {text} from "./text.js";

export function openRename(key) {
	const fields = (dialog) => html`${nameField(dialog, {value: key.name})}${ownerField(dialog, key.owner)}`;
	open(text.rename.title, (dialog) =>
		form(dialog, {fields: fields(dialog), submit: text.rename.submit, busy: text.rename.busy}, async ({name, owner}) => {
			checkFields({name, owner});
			await api.update(key.workspace_id, key.id, {name, owner});
			close();
			toast(text.rename.done);
			void refresh();
		}),
	);
}
