// What about an active key needs attention.

import {day, distance} from "./format.js";
import {text} from "./text.js";

const soon = 14 * day;
const long = 30 * day;

// When an active key ends without being revoked.
export const endOf = (key) =>
	key.revokes_at && Date.parse(key.revokes_at) < Date.parse(key.expires_at) ? key.revokes_at : key.expires_at;

// When the gateway has had a key from, by its id: an imported one was created earlier.
const madeAt = ({id}) => [...id.slice(4, 14)].reduce((ms, digit) => 32 * ms + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".indexOf(digit), 0);

// The marks of a key, most urgent first, each with a kind and words. replacementOf returns
// the active key that a key is being replaced by, or undefined.
export function marksOf(key, now, replacementOf = () => undefined) {
	if (key.status !== "active") {
		return [];
	}
	const marks = [];
	const mark = (kind, words) => marks.push({kind, words});
	if (key.leaked_at) {
		mark("danger", text.marks.leaked);
	}
	if (key.exposed_at) {
		mark("danger", text.marks.exposed);
	}
	const replacement = replacementOf(key);
	const end = endOf(key);
	const endsSoon = Date.parse(end) - now < soon;
	if (endsSoon && (!replacement || isLate(key, replacement, now))) {
		const {ends, expires, unreplaced} = text.marks;
		mark("warning", (replacement ? unreplaced : end === key.revokes_at ? ends : expires)(distance(end, now)));
	}
	const idle = now - (key.last_used_at ? Date.parse(key.last_used_at) : madeAt(key));
	if (idle >= long) {
		mark("quiet", text.marks.unused(Math.trunc(idle / day)));
	}
	if (replacement) {
		mark("info", endsSoon ? text.marks.rotatingUntil(distance(end, now)) : text.marks.rotating);
	}
	return marks;
}

// A rotation takes time, and needs attention only if the new key has not been used when
// half of it is over.
const isLate = (key, replacement, now) => !replacement.last_used_at && now - Date.parse(replacement.created_at) > Date.parse(endOf(key)) - now;

// Whether marks need attention: a rotation on its way does not.
export const isUrgent = (marks) => marks.some(({kind}) => kind !== "info");
