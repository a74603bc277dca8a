// In which order keys are listed, and which of them.

import {now} from "./api.js";
import {day} from "./format.js";
import {endOf, isUrgent, marksOf} from "./marks.js";
import {named} from "./named.js";
import {language, text} from "./text.js";

const collator = new Intl.Collator(language, {numeric: true, sensitivity: "accent"});

// The columns that keys are sorted by, each with the order that a first click asks for.
export const columns = {name: "name", access: "access", created: "-created", used: "-used", end: "end", status: "status"};

const kinds = ["danger", "warning", "quiet", "info", "active", "expired", "revoked"];

// How urgent a key's status is; the lower, the more.
const rank = (key, replacementOf) =>
	kinds.indexOf(key.status === "active" ? marksOf(key, now(), replacementOf)[0]?.kind ?? "active" : key.status);

// When a key ends or was to end, as the list says it.
export const listedEnd = (key) => (key.status === "active" ? endOf(key) : key.expires_at);

const moment = (at) => (at ? Date.parse(at) : 0);
const accessOf = (key) => named(text.preset, key.preset)?.name ?? key.preset;

const comparisons = (replacementOf) => ({
	name: (a, b) => collator.compare(a.name, b.name),
	access: (a, b) => collator.compare(accessOf(a), accessOf(b)),
	created: (a, b) => moment(a.created_at) - moment(b.created_at),
	used: (a, b) => moment(a.last_used_at) - moment(b.last_used_at),
	end: (a, b) => moment(listedEnd(a)) - moment(listedEnd(b)),
	status: (a, b) => rank(a, replacementOf) - rank(b, replacementOf) || moment(listedEnd(a)) - moment(listedEnd(b)),
});

// Returns the keys that a query asks for, in its order. Each is a group: a key and those
// that it is about to replace, which stand below it wherever they would be otherwise.
export function arranged(keys, query, replacementOf) {
	const asked = keys.filter((key) => isAsked(key, query, replacementOf));
	const compare = comparisons(replacementOf)[query.sort.replace(/^-/, "")];
	const sign = query.sort.startsWith("-") ? -1 : 1;
	return grouped(asked.toSorted((a, b) => sign * compare(a, b)), replacementOf);
}

function isAsked(key, {show, access, owner, within}, replacementOf) {
	return (
		(show !== "attention" || isUrgent(marksOf(key, now(), replacementOf))) &&
		(!access || key.preset === access) &&
		(owner === null || collator.compare(key.owner, owner) === 0) &&
		(!within || (key.status === "active" && moment(endOf(key)) - now() < within * day))
	);
}

function grouped(keys, replacementOf) {
	const ids = new Set(keys.map((key) => key.id));
	const followed = (key) => ids.has(replacementOf(key)?.id ?? "");
	const older = Map.groupBy(keys.filter(followed), (key) => key.replaced_by);
	const withOlder = (key) => [key, ...(older.get(key.id) ?? []).flatMap(withOlder)];
	return keys.filter((key) => !followed(key)).map(withOlder);
}

// The owners of keys, each once, as they are spelt first.
export function ownersOf(keys) {
	const owners = [];
	for (const {owner} of keys.toSorted((a, b) => collator.compare(a.owner, b.owner))) {
		if (owners.length === 0 || collator.compare(owners.at(-1), owner) !== 0) {
			owners.push(owner);
		}
	}
	return owners;
}
