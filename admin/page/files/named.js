// What a table has by a name that came from elsewhere, or undefined: every object
// also has a "constructor".
export const named = (table, name) => (Object.hasOwn(table, name) ? table[name] : undefined);
