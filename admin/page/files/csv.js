// Tables as files for spreadsheets (RFC 4180).

// A spreadsheet takes a cell that begins so for a formula, which could send what is in the
// others to somebody: https://owasp.org/www-community/attacks/CSV_Injection. Some skip spaces,
// and take the wide characters of Chinese and Japanese for these.
const formula = /^[\t\r\n]|^\s*[=+\-@＝＋－＠]/;

function cell(value) {
	const words = String(value ?? "");
	const safe = formula.test(words) ? `'${words}` : words;
	return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

// Rows as the text of a file, the first of which are the names of the columns. A mark at
// its beginning tells spreadsheets that it is UTF-8.
export const csv = (rows) => `\ufeff${rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("")}`;
