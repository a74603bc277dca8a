// The texts of the activity in German.

import {html} from "../../vendor/lit-html.js";

// Who did something, after "von".
export const from = {
	admin_endpoint: "jemandem auf dem Server des Gateways",
	admin_token: "jemandem mit dem Admin-Token",
	upstream_auth: "einer angemeldeten Person",
	gateway: "dem Gateway",
	unknown: "jemandem",
};

export const events = {
	title: "Aktivität",
	lead: "Wer was mit den Schlüsseln dieses Arbeitsbereichs getan hat. Zeiten gelten in Ihrer Zeitzone; zeigen Sie auf eine, um sie in UTC zu sehen.",
	empty: {title: "Noch ist nichts geschehen", lead: "Änderungen an den Schlüsseln dieses Arbeitsbereichs werden hier aufgeführt."},
	failed: "Die Aktivität konnte nicht geladen werden",
	newer: "Neuere",
	older: "Ältere",
	actors: {
		admin_endpoint: "jemand auf dem Server des Gateways",
		admin_token: "jemand mit dem Admin-Token",
		upstream_auth: "eine angemeldete Person",
		gateway: "das Gateway",
		unknown: "jemand",
	},
	key: "einen Schlüssel",
	// What an operation did, to follow the actor in a sentence.
	did: {
		create: (e) => (e.preset ? html`hat <b>${e.key}</b> <span class="whole">(${e.preset})</span> erstellt` : html`hat <b>${e.key}</b> erstellt`),
		update: (e) => html`hat <b>${e.key}</b> geändert`,
		renamed: (e) => html`hat <b>${e.before}</b> in <b>${e.after}</b> umbenannt`,
		owner: (e) => html`hat <b>${e.after}</b> als zuständig für <b>${e.key}</b> eingetragen`,
		noOwner: (e) => html`hat eingetragen, dass für <b>${e.key}</b> niemand zuständig ist`,
		rotate: (e) => html`hat <b>${e.key}</b> rotiert`,
		revoke: (e) => html`hat <b>${e.key}</b> widerrufen`,
		revoke_all: (e) => `hat alle Schlüssel des Arbeitsbereichs widerrufen (${e.revoked})`,
		suspend: () => "hat den Arbeitsbereich gesperrt",
		resume: () => "hat den Arbeitsbereich entsperrt",
		lookup: (e) => html`hat ein Token von <b>${e.key}</b> nachgeschlagen`,
		expose: (e) => html`hat bemerkt, dass <b>${e.key}</b> in einem Browser verwendet wurde`,
		leak: (e) => html`hat gemeldet, dass das Token von <b>${e.key}</b> öffentlich gefunden wurde`,
		calendar_feed: () => "hat eine Kalenderadresse erstellt",
		calendar_feed_revoke: () => "hat die Kalenderadresse widerrufen",
		clock: () => "hat die Uhr des Servers für richtig erklärt",
		backup: () => "hat ein Backup erstellt",
		restore: () => "hat ein Backup wiederhergestellt",
		import: (e) => html`hat <b>${e.key}</b> importiert`,
		put_back: () => "hat wiederhergestellt, was etcd verloren hatte",
	},
	// The same for refused operations.
	tried: {
		create: (e) => html`wollte <b>${e.name || e.key}</b> erstellen`,
		update: (e) => html`wollte <b>${e.key}</b> ändern`,
		rotate: (e) => html`wollte <b>${e.key}</b> rotieren`,
		revoke: (e) => html`wollte <b>${e.key}</b> widerrufen`,
		revoke_all: () => "wollte alle Schlüssel des Arbeitsbereichs widerrufen",
		suspend: () => "wollte den Arbeitsbereich sperren",
		resume: () => "wollte den Arbeitsbereich entsperren",
	},
	other: (operation) => `hat „${operation}“ ausgeführt`,
	triedOther: (operation) => `wollte „${operation}“ ausführen`,
	refused: "Abgelehnt",
	refusals: {
		name_taken: "Ein aktiver Schlüssel heißt schon so",
		too_many_keys: "Der Arbeitsbereich hat die Höchstzahl an Schlüsseln",
		already_rotated: "Der Schlüssel hat schon einen Ersatz",
		not_active: "Der Schlüssel ist nicht mehr aktiv",
		not_found: "Diesen Schlüssel gibt es nicht",
		workspace_mismatch: "Ein Betreiber hat ihn gesperrt",
	},
	reason: (reason) => `Grund: ${reason}`,
	from: (address) => `von ${address}`,
};
