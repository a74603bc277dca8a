// The texts of searching and saving the activity, in English.

import {numbers} from "../../numbers.js";
import {html} from "../../vendor/lit-html.js";

const {number, count} = numbers("en");

export const trail = {
	fold: "Filter",
	operation: "What",
	any: "Anything",
	operations: {
		create: "Created",
		update: "Changed",
		rotate: "Rotated",
		revoke: "Revoked",
		revoke_all: "All keys revoked",
		suspend: "Suspended",
		resume: "Resumed",
		expose: "Used in a browser",
		leak: "Found in public",
		lookup: "Token looked up",
		import: "Imported",
		restore: "Restored",
		backup: "Backed up",
		calendar_feed: "Calendar address created",
		calendar_feed_revoke: "Calendar address revoked",
	},
	actor: "Who",
	key: "Key",
	from: "From",
	to: "To",
	widen: "Clear the filters",
	none: {title: "Nothing matches these filters", lead: "Clear them to see everything that happened."},
	reached: (time) => html`Searched back to ${time}. Continue with “Older”.`,
	ofKey: "Activity of this key",
	export: "Export as CSV",
	exporting: (n) => `Exporting… ${number(n)}`,
	exported: (n) => `${count(n, "event", "events")} exported.`,
	exportedNewest: (n) => `The newest ${count(n, "event", "events")} exported. There are older ones: export them with an earlier “To”.`,
};
