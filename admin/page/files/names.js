// The rules for names, checked while they are typed. The server decides, and reports
// what this page does not find.

import {text} from "./text.js";
import {holdsToken} from "./tokens.js";

const fewest = 3;
const most = 80;

// Characters that are invisible or misleading. Variation selectors are allowed. The
// first few are symbols and letters in Unicode, but are drawn as nothing.
const hidden = /[\u2800\ufffc\u{13441}\u{13442}\u{16fe4}\u{1d159}\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}\ufffd[\p{Default_Ignorable_Code_Point}--\p{Variation_Selector}]]/v;

// The server trims what Unicode calls a space; JavaScript's trim differs.
const trim = (name) => name.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, "");

// Names that this page can check for vagueness. For others, case folding and what is
// a letter depend on the version of Unicode.
const plain = /^[ -~]*$/;
const core = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, "").replace(/[0-9]+$/, "");

// What is wrong with a name, in words, or "". A name that is only too short is not
// reported until the user has finished typing.
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
