// The calls of the admin API that the page makes.

// A refusal that the server explains: its code, and the field at fault.
export class Refusal extends Error {
	constructor(status, {error, code, field}) {
		super(error);
		Object.assign(this, {status, code, field});
	}
}

// There was no answer, or it did not come from the admin API.
export class Unreachable extends Error {}

// A proxy in front of the server redirects to its own sign-in.
export class SignedOut extends Error {}

const mount = new URL("../", import.meta.url);
const patience = 20_000; // milliseconds

let credential = ""; // the admin token, which is kept nowhere else
let ahead = 0; // milliseconds by which the server's clock is ahead of this machine's

export const signIn = (token) => (credential = token);
export const signOut = () => (credential = "");
export const signedIn = () => credential !== "";

// The server's time, because the reader's clock may be wrong.
export const now = () => Date.now() + ahead;

// The full URL of a path below the mount, for use outside the page.
export const addressOf = (path) => new URL(path.replace(/^\//, ""), mount).href;

async function send(method, path, body) {
	const headers = new Headers();
	if (credential) {
		headers.set("Authorization", `Bearer ${credential}`);
	}
	if (body) {
		headers.set("Content-Type", "application/json");
	}
	const options = {
		method,
		headers,
		body: body && JSON.stringify(body),
		cache: "no-store",
		redirect: "manual",
		referrerPolicy: "no-referrer",
		signal: AbortSignal.timeout(patience),
	};
	try {
		const answer = await fetch(addressOf(path), options);
		return {answer, content: await answer.text()};
	} catch {
		throw new Unreachable();
	}
}

// Makes a call whose answer has the expected members.
async function call(method, path, expected, body) {
	const {answer, content} = await send(method, path, body);
	if (answer.type === "opaqueredirect") {
		throw new SignedOut();
	}
	const date = Date.parse(answer.headers.get("Date"));
	if (date) {
		ahead = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
	}
	if (answer.ok && answer.headers.get("Content-Type")?.startsWith("text/calendar")) {
		return content;
	}
	const value = parse(content);
	if (answer.ok && value && expected.every((member) => Object.hasOwn(value, member))) {
		return value;
	}
	if (value?.code) {
		throw new Refusal(answer.status, value);
	}
	if (answer.status === 401) {
		throw new SignedOut();
	}
	if ([502, 503, 504].includes(answer.status)) {
		throw new Unreachable();
	}
	throw new Refusal(answer.status, {code: "unexpected"});
}

function parse(content) {
	try {
		return JSON.parse(content);
	} catch {
		return null;
	}
}

function query(values) {
	const given = Object.entries(values).filter(([, value]) => value);
	return given.length ? `?${new URLSearchParams(given)}` : "";
}

const in_ = (ws) => `workspaces/${encodeURIComponent(ws)}`;
const of = (ws, id) => `${in_(ws)}/keys/${encodeURIComponent(id)}`;

export const mounted = () => call("GET", "mount", ["workspace", "actor", "keys"]);
export const workspaces = ({q, limit, cursor} = {}) => call("GET", `workspaces${query({q, limit, cursor})}`, ["workspaces", "next_cursor"]);
export const find = ({q, limit, cursor} = {}) => call("GET", `keys${query({q, limit, cursor})}`, ["keys", "next_cursor"]);
export const findKey = (id) => call("GET", `keys/${encodeURIComponent(id)}`, ["key"]);
export const workspace = (ws) => call("GET", in_(ws), ["workspace"]);
export const keys = (ws, {status, q, limit, cursor} = {}) => call("GET", `${in_(ws)}/keys${query({status, q, limit, cursor})}`, ["keys", "next_cursor"]);
export const key = (ws, id) => call("GET", of(ws, id), ["key"]);
export const uses = (ws, id) => call("GET", `${of(ws, id)}/uses`, ["uses"]);
export const usage = (ws, ids, days) => call("GET", `${in_(ws)}/usage${query({keys: ids.join(","), days})}`, ["usage"]);
export const create = (ws, asked) => call("POST", `${in_(ws)}/keys`, ["key", "token"], asked);
export const update = (ws, id, asked) => call("PATCH", of(ws, id), ["key"], asked);
export const rotate = (ws, id, asked) => call("POST", `${of(ws, id)}/rotate`, ["key", "token", "replaced"], asked);
export const revoke = (ws, id, asked) => call("POST", `${of(ws, id)}/revoke`, ["key"], asked);
export const events = (ws, {limit, cursor} = {}) => call("GET", `${in_(ws)}/audit${query({limit, cursor})}`, ["events", "next_cursor"]);
export const reminder = (ws, id) => call("GET", `${in_(ws)}/calendar.ics${query({key: id})}`, []);
export const openFeed = (ws) => call("POST", `${in_(ws)}/calendar/feed`, ["path"], {});
export const closeFeed = (ws) => call("DELETE", `${in_(ws)}/calendar/feed`, ["revoked"], {});
