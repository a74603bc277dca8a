// Numbers as they are written in a language.

import {localesOf} from "./language.js";

export function numbers(language) {
	const digits = new Intl.NumberFormat(localesOf(language));
	const plural = new Intl.PluralRules(language);
	const number = (n) => digits.format(n);
	// A number with the word that it needs: for one, or for any other number.
	const count = (n, one, other) => `${number(n)} ${plural.select(n) === "one" ? one : other}`;
	return {number, count};
}
