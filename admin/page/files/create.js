// The dialog that creates a key.

import {html} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {app, redraw, refresh} from "./app.js";
import {field, form, open} from "./dialog.js";
import {day as dayLength} from "./format.js";
import {showToken} from "./made.js";
import {checkFields, nameField, ownerField} from "./namefield.js";
import {text} from "./text.js";
import {day, dropdown} from "./ui.js";

const usualLives = [7, 30, 60, 90, 180, 365];

// The lifetimes to choose from, in days: the usual ones that the server allows, and
// the maximum.
function lives() {
	const longest = Math.trunc(app.mount.keys.expires_in_seconds / (dayLength / 1000));
	const shorter = usualLives.filter((days) => days < longest);
	return longest > 0 ? [...shorter, longest] : [];
}

// The choice of a preset, with what each one allows.
const preset = (value, chosen) => html`
	<label class="choice">
		<input type="radio" name="preset" value=${value} ?checked=${chosen} aria-describedby="preset-${value}">
		<span><strong>${text.preset[value].name}</strong><span id="preset-${value}">${text.preset[value].lead}</span></span>
	</label>`;

function lifeField(dialog) {
	const chosen = dialog.life ?? `${lives().at(-1)}`;
	const choose = (days) => {
		dialog.life = days;
		redraw();
	};
	const until = new Date(api.now() + chosen * dayLength).toISOString();
	const options = lives().map((days) => [`${days}`, text.create.lifeOf(days)]);
	const input = (state) => dropdown("expires_in", chosen, options, {id: "expires_in", choose, ...state});
	return field(dialog, {name: "expires_in", label: text.create.life, help: text.create.lifeHelp(day(until)), input});
}

const fields = (dialog) => html`
	${nameField(dialog)}
	${ownerField(dialog)}
	<fieldset>
		<legend>${text.create.access}</legend>
		${preset("read_only", true)} ${preset("full_access", false)}
		<p class="help">${text.create.accessHelp}</p>
	</fieldset>
	${lives().length > 1 ? lifeField(dialog) : ""}`;

export function openCreate() {
	const {workspace} = app;
	open(text.create.title, (dialog) =>
		form(dialog, {fields: fields(dialog), submit: text.create.submit, busy: text.create.busy}, async ({name, owner, preset, expires_in: days}) => {
			checkFields({name, owner});
			const asked = {name, owner, preset};
			if (days && Number(days) !== lives().at(-1)) {
				asked.expires_in = `${days}d`;
			}
			const {key, token} = await api.create(workspace, asked);
			showToken(key, token);
			void refresh();
		}),
	);
}
