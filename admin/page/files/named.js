// A table's entry for a name from outside the page, or undefined. Only own properties
// count: every object also has a "constructor".
export const named = (table, name) => (Object.hasOwn(table, name) ? table[name] : undefined);
