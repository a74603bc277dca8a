// The texts of what a list of keys is arranged and worked through with, in English.

import {numbers} from "../../numbers.js";

const {number, count} = numbers("en");
const keys = (n) => count(n, "key", "keys");
const keysWere = (n) => count(n, "key was", "keys were");

export const arrange = {
	fold: "Filter and sort",
	any: "Any",
	within: (days) => `Within ${count(days, "day", "days")}`,
	sort: "Sort by",
	sorted: {
		name: "Name, A to Z",
		"-name": "Name, Z to A",
		access: "Access, A to Z",
		"-access": "Access, Z to A",
		created: "Oldest first",
		"-created": "Newest first",
		used: "Longest unused first",
		"-used": "Last used first",
		end: "Earliest end first",
		"-end": "Latest end first",
		status: "Most urgent first",
		"-status": "Least urgent first",
	},
	matched: (n, all) => `${number(n)} of ${keys(all)}`,
	widen: "Clear the filters",
	noneSuch: {title: "No key matches these filters", lead: "Clear them to see the other keys."},
	newest: (n) => `There are older keys. Only the newest ${number(n)} are sorted and filtered here.`,
	others: (n) => `There are newer keys. Only these ${number(n)} are sorted and filtered here.`,
	toNewest: "Newest keys",
	toOlder: "Older keys",
};

export const menu = {
	of: (name, hint) => `Actions for ${name} ${hint}`,
	copied: (id) => `Copied ${id}.`,
	notCopied: (id) => `Your browser blocked copying. The id is ${id}.`,
};

export const select = {
	title: "Selected keys",
	one: (name, hint) => `Select ${name} ${hint}`,
	all: "Select all active keys on this page",
	count: (n) => `${keys(n)} selected`,
	revoke: "Revoke selected",
	none: "Clear",
};

export const revokeMany = {
	title: (n) => `Revoke ${keys(n)}?`,
	what: "Every request with these keys is refused from the moment you confirm. This cannot be undone.",
	used: "last used",
	unused: "never used",
	submit: (n) => `Revoke ${keys(n)}`,
	progress: (n, all) => `${number(n)} of ${number(all)} revoked`,
	failed: (n) => `${keysWere(n)} not revoked, for the reasons given in the list. Try again, or cancel.`,
	done: (n) => `${keysWere(n)} revoked.`,
};
