// The texts of how often keys were used, in German.

import {numbers} from "../../numbers.js";

const {number, count} = numbers("de");

const requests = (n) => count(n, "Anfrage", "Anfragen");

export const usage = {
	title: "Nutzung",
	days: "Tage (UTC)",
	last: (n) => `Letzte ${number(n)}`,
	reads: "Lesend",
	writes: "Schreibend",
	refused: "Abgelehnt",
	limited: "Über einem Limit",
	ofDay: (reads, writes, refused, limited) => `${number(reads)} lesend, ${number(writes)} schreibend, ${number(refused)} abgelehnt, ${number(limited)} über einem Limit`,
	old: "Alter Schlüssel",
	replacement: "Neuer Schlüssel",
	day: "Tag",
	table: "Als Tabelle zeigen",
	most: (n) => `Tag mit den meisten: ${requests(n)}`,
	none: "Keine Anfragen an diesen Tagen.",
	spark: (passed, stopped, days) => `${requests(passed)} in ${count(days, "Tag", "Tagen")}${stopped > 0 ? `, dazu ${number(stopped)} abgelehnt oder über einem Limit` : ""}`,
};
