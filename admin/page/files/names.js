// The rules for names, told while they are typed. The server decides; what is
// not found here it says itself.

import {text} from "./text.js";
import {holdsToken} from "./tokens.js";

const fewest = 3;
const most = 80;

// Characters that a person could not see, or could be misled by. Those that
// choose between two drawings of a character are no such. The first few are
// symbols and letters to Unicode, and drawn as nothing.
const hidden = /[\u2800\ufffc\u{13441}\u{13442}\u{16fe4}\u{1d159}\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}\ufffd[\p{Default_Ignorable_Code_Point}--\p{Variation_Selector}]]/v;

// The server's idea of a space is Unicode's, JavaScript's is its own.
const trim = (name) => name.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, "");

// Names of which this page knows whether they are vague. How others fold, and
// which characters are letters, depends on the version of Unicode.
const plain = /^[ -~]*$/;
const core = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, "").replace(/[0-9]+$/, "");

// What is wrong with a name, in words; "" if nothing is. Of a name that is only
// too short so far, nothing is said before somebody has finished it.
export function problemOf(name, vague, {finished = true} = {}) {
	const trimmed = trim(name);
	const length = [...trimmed].length;
	if (holdsToken(trimmed)) {
		return text.names.token;
	}
	const unseen = trimmed.match(hidden);
	if (unseen) {
		const code = unseen[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
		return text.names.hidden(`U+${code}`);
	}
	if (length > most) {
		return text.names.long(most, length);
	}
	if (length < fewest) {
		return finished ? text.names.short(fewest) : "";
	}
	if (vague.length && plain.test(trimmed)) {
		const said = core(trimmed);
		if (vague.includes(said) || (said === "" && finished)) {
			return text.names.vague;
		}
	}
	return "";
}
