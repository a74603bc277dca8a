// The texts of the activity in English.

import {html} from "../../vendor/lit-html.js";

export const events = {
	title: "Activity",
	lead: "Who did what to this workspace's keys. Times are in your time zone; hover over one for UTC.",
	empty: {title: "Nothing has happened yet", lead: "Changes to this workspace's keys are listed here."},
	failed: "The activity could not be loaded",
	newer: "Newer",
	older: "Older",
	actors: {
		admin_endpoint: "an operator on the gateway's machine",
		admin_token: "the holder of the admin token",
		upstream_auth: "a signed-in user",
		gateway: "the gateway",
		unknown: "someone",
	},
	key: "a key",
	// What an operation did, to follow the actor in a sentence.
	did: {
		create: (e) => (e.preset ? html`created <b>${e.key}</b> (${e.preset})` : html`created <b>${e.key}</b>`),
		update: (e) => html`changed <b>${e.key}</b>`,
		renamed: (e) => html`renamed <b>${e.before}</b> to <b>${e.after}</b>`,
		owner: (e) => html`made <b>${e.after}</b> the owner of <b>${e.key}</b>`,
		noOwner: (e) => html`removed the owner of <b>${e.key}</b>`,
		rotate: (e) => html`rotated <b>${e.key}</b>`,
		revoke: (e) => html`revoked <b>${e.key}</b>`,
		revoke_all: (e) => `revoked all keys of the workspace (${e.revoked})`,
		suspend: () => "suspended the workspace",
		resume: () => "resumed the workspace",
		lookup: (e) => html`looked up a token of <b>${e.key}</b>`,
		expose: (e) => html`saw <b>${e.key}</b> used in a browser`,
		calendar_feed: () => "created a calendar address",
		calendar_feed_revoke: () => "revoked the calendar address",
		clock: () => "trusted the machine's clock",
		backup: () => "took a backup",
		restore: () => "restored a backup",
		import: (e) => html`imported <b>${e.key}</b>`,
		put_back: () => "put back what etcd had lost",
	},
	// The same for refused operations.
	tried: {
		create: (e) => html`tried to create <b>${e.name || e.key}</b>`,
		update: (e) => html`tried to change <b>${e.key}</b>`,
		rotate: (e) => html`tried to rotate <b>${e.key}</b>`,
		revoke: (e) => html`tried to revoke <b>${e.key}</b>`,
		revoke_all: () => "tried to revoke all keys of the workspace",
		suspend: () => "tried to suspend the workspace",
		resume: () => "tried to resume the workspace",
	},
	other: (operation) => `did “${operation}”`,
	triedOther: (operation) => `tried “${operation}”`,
	refused: "Refused",
	refusals: {
		name_taken: "an active key has this name",
		too_many_keys: "the workspace has the maximum number of keys",
		already_rotated: "it already has a replacement",
		not_active: "it is no longer active",
		not_found: "there is no such key",
	},
	reason: (reason) => `Reason: ${reason}`,
	from: (address) => `from ${address}`,
};
