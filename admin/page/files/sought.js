// What is searched for when something was typed into a search.

import {text} from "./text.js";
import {inAddress, tokenIn} from "./tokens.js";

// A token is never searched for, because it would appear in a URL. It does not stay in the
// search either. What only may be one does, because it may be half of a name.
export function sought(typed) {
	const last = tokenIn(typed);
	if (last) {
		return {typed: last, q: last, notice: text.list.tokenInSearch(last)};
	}
	const whole = typed.trim();
	const q = inAddress(whole);
	return {typed, q, notice: q === whole ? "" : text.list.tokenPerhaps(q)};
}
