// What the server refuses, in German: it answers in English. By code, and with the
// server's words where the code alone does not say what to do.

import {named} from "../../named.js";

const said = (message) => `Der Server meldet: „${message}“`;

const refusals = {
	already_rotated: () => "Dieser Schlüssel hat schon einen aktiven Ersatz. Rotieren oder widerrufen Sie den Ersatz.",
	body_too_large: () => "Das sind zu viele Daten: Der Server nimmt höchstens 64 KiB an.",
	cross_origin: () => "Der Server hat diese Anfrage abgelehnt, weil sie von einer anderen Website zu kommen scheint. Öffnen Sie die Seite unter ihrer eigentlichen Adresse.",
	invalid_duration: () => "Diese Laufzeit lässt der Server nicht zu. Wählen Sie eine kürzere.",
	invalid_name: (message) => `Dieser Name ist nicht zulässig. ${said(message)}`,
	invalid_owner: (message) => `Dieser Text ist nicht zulässig. ${said(message)}`,
	invalid_preset: () => "Wählen Sie „Nur Lesen“ oder „Vollzugriff“.",
	invalid_reason: (message) => `Dieser Grund ist nicht zulässig. ${said(message)}`,
	invalid_workspace: () => "Das ist keine ID eines Arbeitsbereichs. Sie hat 1 bis 64 Zeichen aus A–Z, a–z, 0–9, „.“, „_“ und „-“ und beginnt nicht mit „.“.",
	name_taken: () => "In diesem Arbeitsbereich hat ein aktiver Schlüssel schon diesen oder einen zum Verwechseln ähnlichen Namen. Wählen Sie einen, der sich unterscheidet.",
	no_space: (message) => `Nichts wurde geändert, denn der Speicher der Schlüssel ist voll. Wenden Sie sich an den Betreiber des Gateways. ${said(message)}`,
	not_active: () => "Dieser Schlüssel ist nicht mehr aktiv. Erstellen Sie einen neuen.",
	not_found: () => "In diesem Arbeitsbereich gibt es diesen Schlüssel nicht.",
	store_unavailable: (message) => `Der Speicher der Schlüssel ist nicht verfügbar. ${said(message)}`,
	too_many_changes: () => "Dieser Arbeitsbereich hat zu viele Änderungen verlangt. Warten Sie einen Moment. Widerrufen können Sie Schlüssel weiterhin.",
	too_many_keys: () => "Dieser Arbeitsbereich hat die Höchstzahl an aktiven Schlüsseln erreicht. Widerrufen Sie einen, der nicht mehr gebraucht wird.",
	vague_name: () => "Dieser Name sagt nicht, was den Schlüssel verwendet. Nennen Sie das System und seine Umgebung, zum Beispiel „Zapier Produktion“.",
	workspace_mismatch: () => "Hier lässt sich nur ein anderer Arbeitsbereich verwalten, oder dazu ist nur der Betreiber des Gateways berechtigt.",
};

export const refused = (code, message) => named(refusals, code)?.(message) ?? `Der Server hat das abgelehnt. ${said(message)}`;
