// A button that opens a menu, by the pattern of the ARIA Authoring Practices Guide:
// https://www.w3.org/WAI/ARIA/apg/patterns/menu-button/

import {html, nothing} from "./vendor/lit-html.js";
import {redraw} from "./app.js";
import {icon} from "./ui.js";

let opened = ""; // the id of the menu that is open

// A button named by its label, and its items, each with words, a task and perhaps a kind.
// Its id is unique on the page.
export function menuButton(id, label, items) {
	const isOpen = opened === id;
	return html`<div class="menu" @focusout=${isOpen ? onFocusOut : nothing} @keydown=${(event) => onKey(event, id)}>
		<button type="button" class="bare" id=${id} aria-haspopup="menu" aria-expanded=${isOpen ? "true" : "false"} @click=${() => (isOpen ? close() : show(id))}>
			${icon("more")}<span class="unseen">${label}</span></button>
		${isOpen ? html`<div role="menu" aria-labelledby=${id}>${items.map(itemView)}</div>` : nothing}
	</div>`;
}

const itemView = ({words, kind = "", act}) => html`<button type="button" role="menuitem" tabindex="-1" class=${kind} @click=${() => choose(act)}>${words}</button>`;

const itemsShown = () => [...document.querySelectorAll("[role=menuitem]")];

function show(id, at = 0) {
	opened = id;
	redraw();
	queueMicrotask(() => {
		itemsShown().at(at)?.focus();
		document.querySelector("[role=menu]")?.scrollIntoView({block: "nearest"});
	});
}

// Closes the menu. The focus goes back to its button.
function close() {
	document.getElementById(opened)?.focus();
	opened = "";
	redraw();
}

// The task may open a dialog, which gives the focus back to where it was.
function choose(act) {
	close();
	act();
}

function onFocusOut({relatedTarget, currentTarget}) {
	if (relatedTarget && !currentTarget.contains(relatedTarget)) {
		opened = "";
		redraw();
	}
}

addEventListener("pointerdown", ({target}) => {
	if (opened && !document.getElementById(opened)?.parentElement.contains(target)) {
		opened = "";
		redraw();
	}
});

const step = {ArrowDown: 1, ArrowUp: -1};

function onKey(event, id) {
	const isOpen = opened === id;
	if (!isOpen && Object.hasOwn(step, event.key)) {
		event.preventDefault();
		show(id, event.key === "ArrowUp" ? -1 : 0);
	} else if (isOpen && event.key === "Escape") {
		event.preventDefault();
		close();
	} else if (isOpen && event.key === "Tab") {
		close(); // and Tab continues from the button
	} else if (isOpen) {
		move(event);
	}
}

// Moves the focus within the menu: by arrows, or to the next item that begins with a
// letter.
function move(event) {
	const items = itemsShown();
	const at = items.indexOf(document.activeElement);
	const rest = [...items.slice(at + 1), ...items.slice(0, at + 1)];
	const letter = event.key.toLocaleLowerCase();
	const to = {
		Home: items[0],
		End: items.at(-1),
		ArrowDown: rest[0],
		ArrowUp: items.at(at - 1),
	}[event.key] ?? rest.find((item) => letter.trim() && item.innerText.toLocaleLowerCase().startsWith(letter));
	if (to) {
		event.preventDefault();
		to.focus();
	}
}
