// How often keys were used: a chart for one key, a comparison of two, and a line for a row
// of the list.

import {html, nothing} from "./vendor/lit-html.js";
import {app, go, toKey} from "./app.js";
import {drawing, eachDay, lastDays, sumOf} from "./chart.js";
import {number, utcDate} from "./format.js";
import {text} from "./text.js";
import {pick} from "./ui.js";

const spans = [7, 30, 90]; // days
const usualSpan = 30;
export const listedDays = 30;
export const comparedDays = 14;

// For how many days the address asks for the use of a key.
export function daysAsked() {
	const asked = Number(app.route.query.get("days"));
	return spans.includes(asked) ? asked : usualSpan;
}

const kinds = ["reads", "writes", "refused", "limited"];
const countOf = (usage, kind) => usage[kind === "limited" ? "rate_limited" : kind];

// The chart of a key, with the same in a table.
export function usageView(key, usage) {
	const span = daysAsked();
	const days = lastDays(span);
	const used = eachDay(usage, days);
	const sum = sumOf(used);
	const choose = (n) => go(`${toKey(key.id)}?days=${n}`, {replace: true});
	const options = spans.map((n) => [`${n}`, text.usage.last(n)]);
	return html`<section class="card usage" aria-labelledby="usage">
		<header><h2 id="usage">${text.usage.title}</h2>${pick("days", text.usage.days, `${span}`, options, choose)}</header>
		<p class="legend">${kinds.map((kind) => counted(kind, text.usage[kind], countOf(sum, kind)))}</p>
		${figures(used.map((of) => [of]), days, kinds.map((kind) => text.usage[kind]), used.map((of) => kinds.map((kind) => countOf(of, kind))))}
	</section>`;
}

// What a colour stands for, and how many requests of it there were.
const counted = (kind, words, n) => html`<span class=${kind}>${words} <b>${number(n)}</b></span>`;

// A key and its replacement side by side.
export function comparison(old, replacement) {
	const days = lastDays(comparedDays);
	const [before, after] = [old, replacement].map(({usage}) => eachDay(usage, days));
	const names = [old, replacement].map(({key}) => key.token_hint);
	const sum = sumOf([...before, ...after]);
	return html`<div class="usage compared">
		<p class="legend">
			${counted("key0", html`${text.usage.old} <code>${names[0]}</code>`, all(sumOf(before)))}
			${counted("key1", html`${text.usage.replacement} <code>${names[1]}</code>`, all(sumOf(after)))}
			${["refused", "limited"].filter((kind) => countOf(sum, kind) > 0).map((kind) => counted(kind, text.usage[kind], countOf(sum, kind)))}
		</p>
		${figures(before.map((of, i) => [of, after[i]]), days, names, before.map((of, i) => [all(of), all(after[i])]))}
	</div>`;
}

const all = ({reads, writes}) => reads + writes;

// A chart of days with what its highest bar stands for, and a table of the days on which
// something happened, newest first.
function figures(columns, days, heads, rows) {
	const busy = rows.map((counts, i) => ({day: days[i], counts})).filter(({counts}) => counts.some((n) => n > 0));
	if (busy.length === 0) {
		return html`<p class="help">${text.usage.none}</p>`;
	}
	const titleOf = (i) => `${utcDate(days[i])}: ${columns[i].map((of) => text.usage.ofDay(...kinds.map((kind) => countOf(of, kind)))).join(" · ")}`;
	const most = Math.max(...columns.flat().map(all));
	return html`<figure>${most > 0 ? html`<p class="help">${text.usage.most(most)}</p>` : nothing}${drawing(columns, titleOf)}
		<figcaption><span>${utcDate(days[0])}</span><span>${utcDate(days.at(-1))}</span></figcaption></figure>
	<details><summary>${text.usage.table}</summary>
		<div class="scroll" tabindex="0" role="group" aria-label=${text.usage.table}><table class="figures">
			<thead><tr><th scope="col">${text.usage.day}</th>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
			<tbody>${busy.reverse().map(({day, counts}) => html`<tr><th scope="row">${utcDate(day)}</th>${counts.map((n) => html`<td>${number(n)}</td>`)}</tr>`)}</tbody>
		</table></div></details>`;
}

// The use of a key in the list.
export function sparkline(usage) {
	if (!usage?.length) {
		return nothing;
	}
	const used = eachDay(usage, lastDays(listedDays));
	const sum = sumOf(used);
	return html`<span class="spark">${drawing(used.map((of) => [of]))}<span class="unseen">${text.usage.spark(sum.reads + sum.writes, sum.refused + sum.rate_limited, listedDays)}</span></span>`;
}
