// Saving the audit trail as a file for spreadsheets.

import {app, redraw, refused, toast, words} from "./app.js";
import {csv} from "./csv.js";
import {save} from "./save.js";
import {text} from "./text.js";
import {read} from "./trail.js";

const most = 10_000; // events in a file
const pages = 200; // of events that are looked at

const columns = ["at", "actor", "remote_ip", "operation", "refused", "workspace_id", "key_id", "name", "reason", "details"];

const rowOf = (event) => columns.map((name) => (name === "details" ? JSON.stringify(event.details) : event[name] ?? event.details[name]));

const state = {busy: false, found: 0};

// How many events have been found for the file that is being made, or null.
export const exporting = () => (state.busy ? state.found : null);

// Saves the events that a filter leaves, the newest if these are too many for a file.
export async function exportTrail(filter) {
	if (state.busy) {
		return;
	}
	const {workspace} = app;
	Object.assign(state, {busy: true, found: 0});
	redraw();
	try {
		const {events, next} = await read(workspace, filter, {enough: most, pages, onPage: count});
		save(`${workspace}-activity.csv`, "text/csv;charset=utf-8", csv([columns, ...events.map(rowOf)]));
		toast((next ? text.trail.exportedNewest : text.trail.exported)(events.length));
	} catch (failure) {
		if (!refused(failure)) {
			toast(words(failure));
		}
	} finally {
		state.busy = false;
		redraw();
	}
}

function count(found) {
	state.found = found;
	redraw();
}
