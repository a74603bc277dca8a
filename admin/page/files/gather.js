// Reads lists whose pages can have fewer entries than asked for.

// Reads pages from a cursor on, until there are enough entries or no more. After each page,
// onPage gets all entries so far and the cursor of the next, and returns whether to
// continue.
export async function gather(read, {cursor, size}, onPage) {
	const all = [];
	let next = cursor;
	do {
		const {entries, next_cursor: following} = await read({limit: size - all.length, cursor: next});
		all.push(...entries);
		next = following;
		if (!onPage([...all], next)) {
			return;
		}
	} while (next && all.length < size);
}
