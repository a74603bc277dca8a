// The field for a key's name, which reports problems while the user types.

import {app, redraw} from "./app.js";
import {Mistake, field, input} from "./dialog.js";
import {problemOf} from "./names.js";
import {text} from "./text.js";
import {holdsToken} from "./tokens.js";

const check = (name, options) => problemOf(name, app.mount.keys.vague_names, options);

export function nameField(dialog, {label = text.create.name, help = text.create.nameHelp, value = "", focus = true} = {}) {
	const judge = (finished) => (event) => {
		dialog.problem = check(event.target.value, {finished});
		dialog.field = dialog.problem ? "name" : "";
		redraw();
	};
	const typed = input("name", {value, focus, required: true, onInput: judge(false), onChange: judge(true)});
	return field(dialog, {name: "name", label, help, input: typed});
}

// The field for an owner.
export const ownerField = (dialog, value = "") =>
	field(dialog, {name: "owner", label: text.create.owner, optional: true, help: text.create.ownerHelp, input: input("owner", {value})});

// Refuses what the server would refuse before anything is sent, so that a token
// pasted here by mistake never leaves the page.
export function checkFields({name, owner = "", reason = ""}) {
	const wrong = name === undefined ? "" : check(name, {finished: true});
	if (wrong) {
		throw new Mistake("name", wrong);
	}
	for (const [kept, value] of Object.entries({owner, reason})) {
		if (holdsToken(value)) {
			throw new Mistake(kept, text.names.token);
		}
	}
}
