// How often keys were used, drawn by day. A drawing says nothing to screen readers: what it
// shows is also next to it in words or in a table.

import {svg} from "./vendor/lit-html.js";
import {now} from "./api.js";
import {day} from "./format.js";

const none = {reads: 0, writes: 0, refused: 0, rate_limited: 0};

// The last days, oldest first, as the server names them: by their date in UTC.
export function lastDays(n) {
	const today = Math.trunc(now() / day);
	return Array.from({length: n}, (_, i) => new Date((today - n + 1 + i) * day).toISOString().slice(0, 10));
}

// The use of a key on each of some days, of which the server leaves out those without.
export function eachDay(usage, days) {
	const used = new Map(usage.map((of) => [of.day, of]));
	return days.map((name) => used.get(name) ?? {day: name, ...none});
}

// The sum of the use on several days.
export function sumOf(usage) {
	const sum = {...none};
	for (const of of usage) {
		for (const kind of Object.keys(none)) {
			sum[kind] += of[kind];
		}
	}
	return sum;
}

const wide = 12; // of a day
const gap = 2;
const upper = 60; // the height of what passed, above the line
const lower = 16; // the height of what did not, below it
const least = 2; // what is drawn of a single request

// What stands above the line of a day, and what hangs below it.
const passed = ({reads, writes}) => [["reads", reads], ["writes", writes]];
const stopped = ({refused, rate_limited: limited}) => [["refused", refused], ["limited", limited]];
const total = (parts) => parts.reduce((sum, [, n]) => sum + n, 0);

// Draws days, each with the use of one or several keys side by side. What did not pass has
// a scale of its own, so that a few refusals stay visible next to many requests. titleOf
// names a day for those who point at it.
export function drawing(days, titleOf = () => "") {
	const all = days.flat();
	const most = Math.max(1, ...all.map((of) => total(passed(of))));
	const worst = Math.max(1, ...all.map((of) => total(stopped(of))));
	const dayView = (keys, i) => svg`<g>
		<title>${titleOf(i)}</title>
		<rect class="day" x=${i * wide} y="0" width=${wide} height=${upper + lower}></rect>
		${keys.map((of, k) => {
			const width = (wide - gap) / keys.length;
			const x = i * wide + gap / 2 + k * width;
			return svg`<g class="key${k}">${stack(passed(of), upper / most, upper - 1, -1, {x, width})}${stack(stopped(of), lower / worst, upper + 1, 1, {x, width})}</g>`;
		})}
	</g>`;
	return svg`<svg class="drawing" viewBox="0 0 ${days.length * wide} ${upper + lower + 1}" preserveAspectRatio="none" aria-hidden="true">
		<path class="line" d="M0 ${upper}H${days.length * wide}"></path>${days.map(dayView)}
	</svg>`;
}

// Draws parts on top of each other from a line on, upwards or downwards.
function stack(parts, scale, from, direction, {x, width}) {
	let at = from;
	return parts
		.filter(([, n]) => n > 0)
		.map(([kind, n]) => {
			const height = Math.max(least, n * scale - 1);
			const y = direction < 0 ? at - height : at;
			at += direction * height;
			return svg`<rect class=${kind} x=${x} y=${y} width=${width} height=${height}></rect>`;
		});
}
