// Numbers, times and durations for people: in the reader's time zone, and in the reader's
// locale if it has the page's language.

import {localesOf} from "./language.js";
import {numbers} from "./numbers.js";
import {language} from "./text.js";

const locales = localesOf(language);

export const {number} = numbers(language);

const dates = new Intl.DateTimeFormat(locales, {dateStyle: "medium"});
const utcDates = new Intl.DateTimeFormat(locales, {dateStyle: "medium", timeZone: "UTC"});
const times = new Intl.DateTimeFormat(locales, {dateStyle: "medium", timeStyle: "short"});
const clock = new Intl.DateTimeFormat(locales, {timeStyle: "short"});
const days = new Intl.DateTimeFormat(locales, {dateStyle: "full"});
const spans = new Intl.RelativeTimeFormat(locales, {numeric: "always"});

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
export const day = 24 * hour;

export const date = (at) => dates.format(new Date(at));
export const time = (at) => times.format(new Date(at));
export const utcDate = (at) => utcDates.format(new Date(at));
export const timeOfDay = (at) => clock.format(new Date(at));
export const dayOf = (at) => days.format(new Date(at));

// The exact time in UTC, such as "2026-11-25 23:32:33 UTC".
export const utc = (at) => `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;

// How far a time is from now, such as "in 5 days" or "3 minutes ago". Future
// days are rounded, so a key just created for 90 days expires in 90 days.
export function distance(at, now) {
	const span = Date.parse(at) - now;
	for (const [unit, length] of [["day", day], ["hour", hour], ["minute", minute]]) {
		if (Math.abs(span) >= length) {
			const count = span / length;
			return spans.format(count > 2 && unit === "day" ? Math.round(count) : Math.trunc(count), unit);
		}
	}
	return spans.format(Math.trunc(span / second), "second");
}
