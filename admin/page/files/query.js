// What of a workspace's keys the list shows, and how it is kept in the address, so that
// reloading, going back and sharing a link work.

import {toKeys} from "./app.js";
import {columns} from "./order.js";
import {inAddress} from "./tokens.js";

export const shows = ["active", "attention", "expired", "revoked", "all"];
export const presets = ["read_only", "full_access"];
export const spans = [7, 14, 30]; // days within which keys end

// What is most urgent comes first where that is what is asked for, otherwise what is new.
export const usualSort = (show) => (show === "attention" ? "status" : "-created");

const usual = {
	show: "active",
	q: "", // sought in names, owners and hints
	access: "", // a preset, or "" for any
	owner: null, // "" for keys without one, null for any
	within: 0, // days, or 0 for any end
	sort: "-created", // a column, with "-" if it descends
	page: 1,
	from: "", // the server's cursor, where the newest keys are not what is shown
};

const among = (values, value, otherwise) => (values.includes(value) ? value : otherwise);

// Reads a query from an address. What makes no sense is left out.
export function readQuery(given) {
	const show = among(shows, given.get("show"), usual.show);
	const sort = given.get("sort") ?? "";
	return {
		show,
		q: inAddress(given.get("q") ?? ""),
		access: among(presets, given.get("access"), usual.access),
		owner: given.get("owner"),
		within: among(spans, Number(given.get("within")), usual.within),
		sort: Object.hasOwn(columns, sort.replace(/^-/, "")) ? sort : usualSort(show),
		page: Math.max(1, Math.trunc(Number(given.get("page"))) || 1),
		from: given.get("from") ?? "",
	};
}

// The address of the list with a query, which names what is not as usual.
export function toList(query) {
	const before = {...usual, sort: usualSort(query.show)};
	const named = Object.entries(query).filter(([name, value]) => value !== before[name]);
	return toKeys() + (named.length > 0 ? `?${new URLSearchParams(named)}` : "");
}

// Whether two queries ask for the same keys, in whatever order.
export const isSame = (a, b) => toList({...a, sort: "", page: 1}) === toList({...b, sort: "", page: 1});

// Whether other than the status narrows the list.
export const isNarrowed = ({access, owner, within}) => access !== usual.access || owner !== usual.owner || within !== usual.within;

export const widened = {access: usual.access, owner: usual.owner, within: usual.within};
