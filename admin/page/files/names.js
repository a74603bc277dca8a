// The rules for names, told while they are typed. The server decides; what is
// not found here it says itself.

import {text} from "./text.js";

const fewest = 3;
const most = 80;

// Characters that a person could not see, or could be misled by.
const hidden = /[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\ufffd]/u;

// A token, as far as it can be told without its checksum.
const token = /[a-z][a-z0-9]*_([0-9A-Za-z]{49})(?![0-9A-Za-z])/;

const squeeze = (name) => name.normalize("NFKC").toLowerCase().replace(/[^\p{L}\p{Nd}]/gu, "");

// What is wrong with a name, in words; "" if nothing is. Of a name that is only
// too short so far, nothing is said before somebody has finished it.
export function problemOf(name, vague, {finished = true} = {}) {
	const trimmed = name.trim();
	const length = [...trimmed].length;
	if (trimmed.match(token)) {
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
	const core = squeeze(trimmed).replace(/\p{Nd}+$/u, "");
	if (vague.length && (core === "" || vague.includes(core))) {
		return finished || core !== "" ? text.names.vague : "";
	}
	return "";
}

// The last four characters of a token that somebody put where none belongs, or
// "" if a text holds none.
export const tokenIn = (words) => words.match(token)?.[1].slice(-4) ?? "";
