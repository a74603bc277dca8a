// The table of a workspace's keys.

import {html, nothing} from "./vendor/lit-html.js";
import {app, toKey} from "./app.js";
import {list, replacementOf} from "./loaded.js";
import {named} from "./named.js";
import {ask} from "./narrow.js";
import {columns as sorts, listedEnd} from "./order.js";
import {rowMenu} from "./rowmenu.js";
import {selectAllBox, selectBox} from "./select.js";
import {text} from "./text.js";
import {badges, day, since, standing} from "./ui.js";
import {sparkline} from "./usage.js";

export function tableView(groups) {
	const keys = groups.flat();
	const canSelect = keys.some(({status}) => status === "active");
	return html`
		<table role="table" class="keys" aria-label=${text.keys}>
			<thead role="rowgroup"><tr role="row">
				<td role="cell" class="box">${canSelect ? selectAllBox(keys) : nothing}</td>
				${Object.keys(text.list.columns).map(headView)}
				<td role="cell"></td>
			</tr></thead>
			<tbody role="rowgroup">${groups.map(groupView)}</tbody>
		</table>
		<p class="unseen" role="status">${text.list.shown(keys.length)}</p>`;
}

// The head of a column. Pressing it sorts by the column, and again in the other order.
function headView(name) {
	const words = text.list.columns[name];
	if (!Object.hasOwn(sorts, name)) {
		return html`<th role="columnheader" scope="col">${words}</th>`;
	}
	const first = sorts[name];
	const {sort} = list.query;
	const order = sort === name ? "ascending" : sort === `-${name}` ? "descending" : "none";
	const next = sort === first ? (first === name ? `-${name}` : name) : first;
	return html`<th role="columnheader" scope="col" aria-sort=${order}><button type="button" class="bare" @click=${() => ask({sort: next})}>${words}<span class="order" aria-hidden="true"></span></button></th>`;
}

const groupView = (keys) => keys.map((key, i) => row(key, i === 0 ? "" : "older"));

function row(key, place) {
	const {columns} = text.list;
	return html`<tr role="row" class="${key.status} ${place}">
		<td role="cell" class="box">${key.status === "active" ? selectBox(key) : nothing}</td>
		<th role="rowheader" scope="row" class="name"><a href=${toKey(key.id)}><bdi>${key.name}</bdi></a>
			<span class="owner"><bdi>${key.owner || text.list.noOwner}</bdi></span>${linkView(key)}</th>
		<td role="cell" data-label=${columns.access} class="access">${named(text.preset, key.preset)?.name}</td>
		<td role="cell" data-label=${columns.token} class="token"><code>${key.token_hint}</code></td>
		<td role="cell" data-label=${columns.created} class="created">${day(key.created_at)}</td>
		<td role="cell" data-label=${columns.used}>${key.last_used_at ? since(key.last_used_at) : text.list.never}${sparkline(list.usage[key.id])}</td>
		<td role="cell" data-label=${columns.end} class="end">${key.status === "active" ? html`${since(listedEnd(key))} <span class="quietly">${day(listedEnd(key))}</span>` : day(listedEnd(key))}</td>
		<td role="cell" data-label=${columns.status} class="state">${statusOf(key)}</td>
		<td role="cell" class="more">${rowMenu(key)}</td>
	</tr>`;
}

// The key that replaces a key, or that it replaces, while both work.
function linkView(key) {
	const replacement = replacementOf(key);
	const replaced = list.active?.get(key.replaces);
	const link = (words, {id, token_hint: hint}) => html`<span class="link">${words} <a href=${toKey(id)}><code>${hint}</code></a></span>`;
	return [
		replacement ? link(text.key.replacedBy, replacement) : nothing,
		replaced && key.status === "active" ? link(text.key.replaces, replaced) : nothing,
	];
}

function statusOf(key) {
	const marks = badges(key, replacementOf);
	if (key.status === "revoked") {
		return html`${marks}<span class="quietly">${day(key.revoked_at)}</span>`;
	}
	if (app.summary?.suspended && key.status === "active") {
		return html`${standing(key)}${marks}`;
	}
	return key.status === "active" && marks.length === 0 ? html`<span class="plain">${text.status.active}</span>` : marks;
}
