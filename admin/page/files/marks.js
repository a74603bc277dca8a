// What about an active key needs attention.

import {day, distance} from "./format.js";
import {text} from "./text.js";

const soon = 14 * day;
const long = 30 * day;

// When an active key ends without being revoked.
export const endOf = (key) =>
	key.revokes_at && Date.parse(key.revokes_at) < Date.parse(key.expires_at) ? key.revokes_at : key.expires_at;

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
	const idle = now - Date.parse(key.last_used_at ?? key.created_at);
	if (idle >= long) {
		mark("quiet", text.marks.unused(Math.trunc(idle / day)));
	}
	return marks;
}
