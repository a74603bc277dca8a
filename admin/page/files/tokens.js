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

const decode = (words) => words.replace(/%([2-7][0-9a-f])/gi, (_, code) => String.fromCharCode(parseInt(code, 16))).replace(/\p{Cf}/gu, "");

// The last four characters of a token, or of part of one, that was pasted into the
// search, or "" if there is none.
export function tokenIn(words) {
	const decoded = decode(words);
	const whole = decoded.replace(/\s/g, "").match(shape);
	if (whole) {
		return whole[1].slice(0, length).slice(-4);
	}
	return decoded.replace(keyID, "").match(run)?.find(isRandom)?.slice(-4) ?? "";
}

// Whether letters and digits are mixed as they are not in words.
const isRandom = (characters) =>
	/[0-9]/.test(characters) || (characters.replace(/[^A-Z]/g, "").length > 1 && /[a-z]/.test(characters));

// What may be a token that another program issued: it has their characters (b64token in
// RFC 6750), and as many as the shortest.
const foreign = /[\w.~+\/-]{16,}=*/g;

// What is none: the id of a key, whole or not, and words and short numbers with anything
// between them.
const partOfID = /^key_0[0-9A-HJKMNP-TV-Z]{0,25}$/i;
const wordOrNumber = /^([A-Z]?[a-z]*|[A-Z]+|[0-9]{1,4})$/;
const isReadable = (characters) =>
	partOfID.test(characters) || (/[a-z]/i.test(characters) && characters.split(/[^0-9A-Za-z]+/).every((one) => wordOrNumber.test(one)));

// What of a text may be in an address: all of it, unless a token may be in it. Then it is
// the last four characters of that, which find whatever has all of it, and more.
export const inAddress = (words) =>
	tokenIn(words) || (decode(words).match(foreign)?.find((one) => !isReadable(one))?.slice(-4) ?? words);
