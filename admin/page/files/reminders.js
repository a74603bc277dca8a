// Calendars of when keys expire: as a file, or to subscribe to.

import {html, nothing} from "./vendor/lit-html.js";
import * as api from "./api.js";
import {app, redraw, refused, toast, words} from "./app.js";
import {leave, open} from "./dialog.js";
import {save} from "./save.js";
import {text} from "./text.js";
import {copyButton, icon, problem} from "./ui.js";

// Saves a calendar of one key or of all keys.
export async function download(key) {
	try {
		const calendar = await api.reminder(app.workspace, key?.id);
		save(`${key?.id ?? app.workspace}.ics`, "text/calendar", calendar);
	} catch (failure) {
		if (!refused(failure)) {
			toast(words(failure));
		}
	}
}

export function openReminders() {
	const mine = {address: "", copied: {}, said: "", failed: ""};
	const attempt = (work) => async () => {
		Object.assign(mine, {said: "", failed: ""});
		try {
			await work();
		} catch (failure) {
			mine.failed = refused(failure) ? text.connection.unsure : words(failure);
		}
		redraw();
	};
	const make = attempt(async () => {
		mine.address = api.addressOf((await api.openFeed(app.workspace)).path);
		mine.copied = {};
	});
	const end = attempt(async () => {
		const {revoked} = await api.closeFeed(app.workspace);
		mine.address = "";
		mine.said = revoked ? text.reminders.ended : text.reminders.endedNone;
	});
	open(text.reminders.title, () => content(mine, make, end), {wide: true});
}

const content = (mine, make, end) => html`
	<p>${text.reminders.lead}</p>
	<h3>${text.reminders.download}</h3>
	<p class="help">${text.reminders.downloadHelp}</p>
	<p><button type="button" @click=${() => download()}>${icon("calendar")}${text.reminders.download}</button></p>
	<h3>${text.reminders.subscribe}</h3>
	<p class="help">${text.reminders.subscribeHelp}</p>
	${mine.address ? address(mine) : nothing}
	<p class="row">
		<button type="button" @click=${make}>${text.reminders.make}</button>
		<button type="button" @click=${end}>${text.reminders.end}</button>
	</p>
	<p role="status">${mine.said}</p>
	${problem(mine.failed)}
	<div class="buttons"><button type="button" @click=${leave}>${text.close}</button></div>`;

const address = (mine) => html`
	<div class="secret small">
		<code id="address" tabindex="0" aria-label=${text.reminders.address}>${mine.address}</code>
		${copyButton(text.reminders.copy, mine.address, {copied: mine.copied, source: "#address"})}
	</div>
	<p class="hint">${text.reminders.once}</p>`;
