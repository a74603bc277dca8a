// What can be done with a key of the list.

import * as api from "./api.js";
import {refused, toast} from "./app.js";
import {replacementOf} from "./loaded.js";
import {menuButton} from "./menu.js";
import {openRename} from "./rename.js";
import {openRevoke} from "./revoke.js";
import {openRotate} from "./rotate.js";
import {text} from "./text.js";

export function rowMenu(key) {
	const {rename, rotate, revoke, copyId} = text.key;
	const active = key.status === "active";
	const items = [
		active && {words: rename, act: () => openRename(key)},
		active && !replacementOf(key) && {words: rotate, act: () => openRotate(key)},
		{words: copyId, act: () => copy(key.id)},
		active && {words: revoke, kind: "danger", act: () => askToRevoke(key)},
	];
	return menuButton(`menu-${key.id}`, text.menu.of(key.name, key.token_hint), items.filter(Boolean));
}

// Without HTTPS, browsers do not let a page copy.
async function copy(id) {
	try {
		await navigator.clipboard.writeText(id);
		toast(text.menu.copied(id));
	} catch {
		toast(text.menu.notCopied(id));
	}
}

// Who used the key last helps to decide, but is not needed to revoke it.
async function askToRevoke(key) {
	try {
		openRevoke(key, (await api.uses(key.workspace_id, key.id)).uses);
	} catch (failure) {
		if (!refused(failure)) {
			openRevoke(key, {last_at: key.last_used_at});
		}
	}
}
