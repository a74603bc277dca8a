// The texts of how often keys were used, in English.

import {numbers} from "../../numbers.js";

const {number, count} = numbers("en");

const requests = (n) => count(n, "request", "requests");

export const usage = {
	title: "Usage",
	days: "Days (UTC)",
	last: (n) => `Last ${number(n)}`,
	reads: "Reads",
	writes: "Writes",
	refused: "Refused",
	limited: "Over a limit",
	ofDay: (reads, writes, refused, limited) => `${number(reads)} reads, ${number(writes)} writes, ${number(refused)} refused, ${number(limited)} over a limit`,
	old: "Old key",
	replacement: "New key",
	day: "Day",
	table: "Show as a table",
	most: (n) => `Busiest day: ${requests(n)}`,
	none: "No requests on these days.",
	spark: (passed, stopped, days) => `${requests(passed)} in ${count(days, "day", "days")}${stopped > 0 ? `, and ${number(stopped)} refused or over a limit` : ""}`,
};
