// Finds tokens that were pasted where they do not belong.

// What looks like a token, by the server's pattern.
const shape = /[a-z][a-z0-9_]{0,18}[a-z0-9]_([0-9A-Za-z]{43,})\w*/;

// Whether a text contains a token, or enough of one to guess the rest.
export const holdsToken = (words) => shape.test(words);

// How many characters a token has after its prefix.
const length = 49;

// What is long enough to be part of a token, and what is not part of one.
const run = /[0-9A-Za-z]{20,}/g;
const keyID = /key_[0-9A-HJKMNP-TV-Z]{16,26}/gi;

// The last four characters of a token, or of part of one, that was pasted into the
// search, or "" if there is none.
export function tokenIn(words) {
	const decoded = words.replace(/%5f/gi, "_").replace(/\p{Cf}/gu, "");
	const whole = decoded.replace(/\s/g, "").match(shape);
	if (whole) {
		return whole[1].slice(0, length).slice(-4);
	}
	return decoded.replace(keyID, "").match(run)?.find(isRandom)?.slice(-4) ?? "";
}

// Whether letters and digits are mixed as they are not in words.
const isRandom = (characters) =>
	/[0-9]/.test(characters) || (characters.replace(/[^A-Z]/g, "").length > 1 && /[a-z]/.test(characters));
