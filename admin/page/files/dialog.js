// One dialog at a time, as a <dialog> element, which traps the focus and restores
// it.

import {html, nothing} from "./vendor/lit-html.js";
import {Refusal, Unreachable} from "./api.js";
import {redraw, refused, words} from "./app.js";
import {text} from "./text.js";
import {problem, wrong} from "./ui.js";

let current = null;

// Opens a dialog. Its content is a function of the dialog's state, which says whether
// it is busy and what went wrong. mayClose is asked before the user closes it.
export function open(title, content, {mayClose = () => true, wide = false} = {}) {
	current = {title, content, mayClose, wide, busy: false, problem: "", field: ""};
	redraw();
}

// Closes the dialog and restores the focus.
export function close() {
	const element = document.querySelector("dialog");
	current = null;
	element?.close();
	redraw();
	queueMicrotask(() => {
		if (document.activeElement === document.body) {
			document.querySelector("h1")?.focus();
		}
	});
}

// Closes the dialog, unless that would lose something.
export function leave() {
	if (current && !current.busy && current.mayClose()) {
		close();
	}
	redraw();
}

// Runs the dialog's task, which closes the dialog itself.
async function submit(event, work) {
	event.preventDefault();
	const dialog = current;
	if (dialog.busy) {
		return;
	}
	const fields = Object.fromEntries(new FormData(event.target));
	Object.assign(dialog, {busy: true, problem: "", field: ""});
	redraw();
	try {
		await work(fields);
	} catch (failure) {
		explain(dialog, failure);
	}
	dialog.busy = false;
	redraw();
	requestAnimationFrame(() => document.querySelector("dialog [aria-invalid=true]")?.focus());
}

// An error found before anything was sent.
export class Mistake extends Error {
	constructor(field, words) {
		super(words);
		this.field = field;
	}
}

function explain(dialog, failure) {
	if (refused(failure)) {
		if (!(failure instanceof Unreachable)) {
			close();
			return;
		}
		dialog.problem = text.connection.unsure;
	} else if (failure instanceof Refusal || failure instanceof Mistake) {
		dialog.problem = failure instanceof Refusal ? words(failure) : failure.message;
		dialog.field = document.getElementById(`${failure.field}-problem`) ? failure.field : "";
	} else {
		throw failure;
	}
}

// A form with its error and its buttons at the end. The buttons are not disabled
// while it is busy, because a disabled button loses the focus.
export const form = (dialog, {fields, submit: words, busy, kind = "primary"}, work) => html`
	<form novalidate @submit=${(event) => submit(event, work)}>
		${fields}
		${dialog.field ? nothing : problem(dialog.problem)}
		<div class="buttons">
			<button type="button" @click=${leave}>${text.cancel}</button>
			<button class=${kind} aria-disabled=${dialog.busy ? "true" : "false"}>${dialog.busy ? busy : words}</button>
		</div>
	</form>`;

// A field with its help text and the server's error, if any.
export function field(dialog, {name, label, optional = false, help = nothing, input}) {
	const bad = dialog.field === name;
	const said = bad ? dialog.problem : "";
	return html`
		<div class="field">
			<label for=${name}>${label}${optional ? html` <span class="optional">${text.create.optional}</span>` : nothing}</label>
			${input({wrong: bad, described: `${name}-problem ${name}-help`})}
			${wrong(`${name}-problem`, said)}
			<p class="help" id="${name}-help">${help}</p>
		</div>`;
}

export const input = (name, {value = "", required = false, focus = false, most = nothing, onInput, onChange} = {}) =>
	({wrong, described}) => html`
		<input id=${name} name=${name} value=${value} maxlength=${most} autocomplete="off" autocapitalize="off" spellcheck="false"
			aria-describedby=${described} aria-invalid=${wrong ? "true" : "false"} ?required=${required} ?autofocus=${focus}
			@input=${onInput} @change=${onChange}>`;

export function dialogView() {
	if (!current) {
		return nothing;
	}
	const dialog = current;
	const onKey = (event) => {
		if (event.key === "Escape") {
			event.preventDefault();
			leave();
		}
	};
	const onCancel = (event) => {
		event.preventDefault();
		leave();
	};
	// On a second attempt, a browser closes the dialog even if the page prevents it.
	const onClose = (event) => {
		if (current === dialog) {
			event.target.showModal();
			leave();
		}
	};
	return html`
		<dialog class=${dialog.wide ? "wide" : ""} aria-labelledby="dialog-title" @keydown=${onKey} @cancel=${onCancel} @close=${onClose}>
			<h2 id="dialog-title" tabindex="-1">${dialog.title}</h2>
			${dialog.content(dialog)}
		</dialog>`;
}

let shown = null;

// Opens the dialog element if it is new. A dialog that replaces another reuses its
// element, so the focus still returns to where the first one was opened.
export function afterDrawing() {
	const element = document.querySelector("dialog");
	if (element && current !== shown) {
		if (element.open) {
			(element.querySelector("[autofocus]") ?? element.querySelector("h2")).focus();
		} else {
			element.showModal();
		}
	}
	shown = current;
}
