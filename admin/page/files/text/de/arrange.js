// The texts of what a list of keys is arranged and worked through with, in German.

import {numbers} from "../../numbers.js";

const {number, count} = numbers("de");
const keys = (n) => count(n, "Schlüssel", "Schlüssel");

export const arrange = {
	fold: "Filtern und sortieren",
	any: "Alle",
	within: (days) => `In ${count(days, "Tag", "Tagen")}`,
	sort: "Sortieren",
	sorted: {
		name: "Name, A bis Z",
		"-name": "Name, Z bis A",
		access: "Zugriff, A bis Z",
		"-access": "Zugriff, Z bis A",
		created: "Älteste zuerst",
		"-created": "Neueste zuerst",
		used: "Am längsten unbenutzte zuerst",
		"-used": "Zuletzt verwendete zuerst",
		end: "Frühestes Ende zuerst",
		"-end": "Spätestes Ende zuerst",
		status: "Dringendste zuerst",
		"-status": "Am wenigsten dringende zuerst",
	},
	matched: (n, all) => `${number(n)} von ${keys(all)}`,
	widen: "Filter aufheben",
	noneSuch: {title: "Kein Schlüssel passt zu diesen Filtern", lead: "Heben Sie sie auf, um die anderen Schlüssel zu sehen."},
	newest: (n) => `Es gibt ältere Schlüssel. Nur die neuesten ${number(n)} sind hier sortiert und gefiltert.`,
	others: (n) => `Es gibt neuere Schlüssel. Nur diese ${number(n)} sind hier sortiert und gefiltert.`,
	toNewest: "Neueste Schlüssel",
	toOlder: "Ältere Schlüssel",
};

export const menu = {
	of: (name, hint) => `Aktionen für ${name} ${hint}`,
	copied: (id) => `${id} kopiert.`,
	notCopied: (id) => `Ihr Browser hat das Kopieren verhindert. Die ID ist ${id}.`,
};

export const select = {
	title: "Ausgewählte Schlüssel",
	one: (name, hint) => `${name} ${hint} auswählen`,
	all: "Alle aktiven Schlüssel dieser Seite auswählen",
	count: (n) => `${keys(n)} ausgewählt`,
	revoke: "Auswahl widerrufen",
	none: "Aufheben",
};

export const revokeMany = {
	title: (n) => `${keys(n)} widerrufen?`,
	what: "Sobald Sie bestätigen, wird jede Anfrage mit diesen Schlüsseln abgelehnt. Das lässt sich nicht rückgängig machen.",
	used: "zuletzt verwendet",
	unused: "nie verwendet",
	submit: (n) => `${keys(n)} widerrufen`,
	progress: (n, all) => `${number(n)} von ${number(all)} widerrufen`,
	failed: (n) => `${count(n, "Schlüssel wurde", "Schlüssel wurden")} nicht widerrufen. Warum, steht in der Liste. Versuchen Sie es noch einmal, oder brechen Sie ab.`,
	done: (n) => `${count(n, "Schlüssel wurde", "Schlüssel wurden")} widerrufen.`,
};
