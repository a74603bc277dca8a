// The texts of what a list of keys is arranged with, in English.

import {numbers} from "../../numbers.js";

const {number, count} = numbers("en");
const keys = (n) => count(n, "key", "keys");

export const arrange = {
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
