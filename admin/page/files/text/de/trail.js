// The texts of searching and saving the activity, in German.

import {numbers} from "../../numbers.js";
import {html} from "../../vendor/lit-html.js";

const {number, count} = numbers("de");

export const trail = {
	fold: "Filtern",
	operation: "Was",
	any: "Alles",
	operations: {
		create: "Erstellt",
		update: "Geändert",
		rotate: "Rotiert",
		revoke: "Widerrufen",
		revoke_all: "Alle Schlüssel widerrufen",
		suspend: "Gesperrt",
		resume: "Entsperrt",
		expose: "In einem Browser verwendet",
		leak: "Öffentlich gefunden",
		lookup: "Token nachgeschlagen",
		import: "Importiert",
		restore: "Wiederhergestellt",
		backup: "Gesichert",
		calendar_feed: "Kalenderadresse erstellt",
		calendar_feed_revoke: "Kalenderadresse widerrufen",
	},
	actor: "Wer",
	key: "Schlüssel",
	from: "Von",
	to: "Bis",
	widen: "Filter aufheben",
	none: {title: "Nichts passt zu diesen Filtern", lead: "Heben Sie sie auf, um alles zu sehen, was geschehen ist."},
	reached: (time) => html`Bis ${time} zurück gesucht. Mit „Ältere“ geht es weiter.`,
	ofKey: "Aktivität dieses Schlüssels",
	export: "Als CSV exportieren",
	exporting: (n) => `Export läuft … ${number(n)}`,
	exported: (n) => `${count(n, "Ereignis", "Ereignisse")} exportiert.`,
	exportedNewest: (n) => `Die neuesten ${count(n, "Ereignis", "Ereignisse")} exportiert. Es gibt ältere: Exportieren Sie diese mit einem früheren „Bis“.`,
};
