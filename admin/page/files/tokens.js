// Tokens that somebody put where none belongs.

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const checksumLength = 6;

// What looks like a token: a prefix, a secret and its checksum.
const shape = /([a-z0-9_]+)_([0-9A-Za-z]{49})/g;
const prefix = /^[a-z][a-z0-9_]{0,18}[a-z0-9]$/;

// The last four characters of what looks like a token, right or mistyped, or ""
// if a text holds none.
export const tokenIn = (words) => words.matchAll(shape).next().value?.[2].slice(-4) ?? "";

// That of a calendar's address, which has no checksum.
const feed = /cal_[0-9A-Za-z]{43}/;

// Whether a text holds a token whose checksum is right, as the server tells, or
// that of a calendar's address. It may stand right beside other characters.
export const holdsToken = (words) =>
	feed.test(words) ||
	[...words.matchAll(shape)].some(([, before, secret]) =>
		[...before].some((_, i) => prefix.test(before.slice(i)) && isRight(`${before.slice(i)}_${secret}`)),
	);

const isRight = (token) => checksum(token.slice(0, -checksumLength)) === token.slice(-checksumLength);

// The CRC-32 (IEEE) of a token's body, in the token's own alphabet.
function checksum(body) {
	let crc = ~0;
	for (const character of body) {
		crc ^= character.charCodeAt(0);
		for (let bit = 0; bit < 8; bit++) {
			crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
		}
	}
	let rest = ~crc >>> 0;
	let digits = "";
	for (let i = 0; i < checksumLength; i++) {
		digits = alphabet[rest % 62] + digits;
		rest = Math.trunc(rest / 62);
	}
	return digits;
}
