// The view of a workspace's keys.

import {html, nothing} from "./vendor/lit-html.js";
import {addPage, app} from "./app.js";
import {openCreate} from "./create.js";
import {findEverywhere} from "./find.js";
import {enter, list, load, most, onPage, urgent} from "./loaded.js";
import {ask, field, follow, narrowView, seek, show, toolsView, turn} from "./narrow.js";
import {isNarrowed, widened} from "./query.js";
import {openReminders} from "./reminders.js";
import {tableView} from "./rows.js";
import {deselect, selectionStatus, selectionView} from "./select.js";
import {text} from "./text.js";
import {blank, icon, loading, pager, problem} from "./ui.js";

addPage("keys", {
	enter() {
		if (enter()) {
			deselect();
		}
		follow(list.query);
	},
	load,
});

export const listView = () => html`
	<header class="head">
		<div>
			<h1 tabindex="-1">${text.title}</h1>
			<p class="lead">${text.list.lead}</p>
		</div>
		<div class="actions">
			<button type="button" @click=${openReminders}>${icon("calendar")}${text.list.reminders}</button>
			<button type="button" class="primary" @click=${openCreate}>${icon("plus")}${text.list.create}</button>
		</div>
	</header>
	${attention()}
	${hasNone() ? nothing : [toolsView(), selectionView() ?? narrowView()]}
	${field.notice ? html`<p class="notice warning" role="status">${icon("warning")}<span>${field.notice}</span></p>` : nothing}
	${list.failed ? problem(`${text.list.failed}: ${list.failed}`) : listed()}`;

// Whether the workspace has never had a key, so there is nothing to search or to filter.
function hasNone() {
	const {active, expired, revoked} = app.summary?.keys ?? {};
	return active + expired + revoked === 0 && !list.query.q;
}

function attention() {
	const n = urgent()?.length ?? 0;
	if (n === 0 || list.query.show === "attention") {
		return nothing;
	}
	return html`<p class="notice warning" role="status">${icon("warning")}<span>${text.list.attention(n)}
		${list.partly ? text.list.attentionPartly(most) : nothing}</span>
		<button type="button" @click=${() => show("attention")}>${text.list.attentionShow}</button></p>`;
}

function listed() {
	if (list.keys === null) {
		return loading();
	}
	const {groups, number, pages} = onPage();
	return html`
		${partly()}
		${selectionStatus()}
		${groups.length > 0 ? tableView(groups) : empty()}
		${pagesView(number, pages)}`;
}

// Says which keys were sorted and filtered, if these are not all.
function partly() {
	const {from} = list.query;
	if (!list.next && !from) {
		return nothing;
	}
	const {newest, others, toNewest, toOlder} = text.arrange;
	return html`<p class="notice">${icon("info")}<span>${(from ? others : newest)(list.keys.length)}</span>
		${from ? html`<button type="button" @click=${() => ask({from: ""})}>${toNewest}</button>` : nothing}
		${list.next ? html`<button type="button" @click=${() => ask({from: list.next})}>${toOlder}</button>` : nothing}</p>`;
}

function pagesView(number, pages) {
	const to = (page) => () => {
		turn({page});
		document.querySelector("h1").focus();
	};
	return pager({number, newer: number > 1 && to(number - 1), older: number < pages && to(number + 1)}, text.list);
}

function empty() {
	const {show: status, q} = list.query;
	if (isNarrowed(list.query)) {
		return blank(text.arrange.noneSuch, html`<button type="button" class="primary" @click=${() => ask(widened)}>${text.arrange.widen}</button>`);
	}
	if (q) {
		const {title, lead, clear} = text.list.noMatch;
		const everywhere = status === "all" ? nothing : html`<button type="button" class="primary" @click=${() => show("all")}>${text.list.noMatch.everywhere}</button>`;
		const elsewhere = app.mount.workspace ? nothing : html`<button type="button" @click=${() => searchElsewhere(q)}>${text.list.noMatch.elsewhere}</button>`;
		return blank({title: title[status], lead: lead(q)}, html`${everywhere}${elsewhere}<button type="button" @click=${() => seek("")}>${clear}</button>`);
	}
	if (hasNone() || status === "all") {
		const {title, lead, unsure} = text.list.empty;
		const surprising = app.mount.workspace ? "" : ` ${unsure}`; // the user typed the id
		return blank({title, lead: lead + surprising}, html`<button type="button" class="primary" @click=${openCreate}>${icon("plus")}${text.list.empty.create}</button>`);
	}
	return blank(text.list.noneOf[status]);
}

function searchElsewhere(q) {
	findEverywhere(q);
	location.hash = "#/";
}
