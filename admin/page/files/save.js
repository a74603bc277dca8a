// Saving files that are made here.

// Saves a text as a file. A link to the server would not send the credentials that are
// required.
export function save(name, type, words) {
	const address = URL.createObjectURL(new Blob([words], {type}));
	Object.assign(document.createElement("a"), {href: address, download: name}).click();
	URL.revokeObjectURL(address);
}
