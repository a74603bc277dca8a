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

// The marks of a key, most urgent first, each with a kind and words. isActive reports
// whether the key with the id of a replacement is still active.
export function marksOf(key, now, isActive = () => true) {
	if (key.status !== "active") {
		return [];
	}
	const marks = [];
	const mark = (kind, words) => marks.push({kind, words});
	const end = endOf(key);
	if (key.exposed_at) {
		mark("danger", text.marks.exposed);
	}
	if (Date.parse(end) - now < soon) {
		mark("warning", (end === key.revokes_at ? text.marks.ends : text.marks.expires)(distance(end, now)));
	}
	if (key.replaced_by && isActive(key.replaced_by)) {
		mark("info", text.marks.rotating);
	}
	const idle = now - (key.last_used_at ? Date.parse(key.last_used_at) : madeAt(key));
	if (idle >= long) {
		mark("quiet", text.marks.unused(Math.trunc(idle / day)));
	}
	return marks;
}
