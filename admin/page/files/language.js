// The languages that the reader prefers, as the browser knows them.

const of = (tag) => tag.split("-")[0].toLowerCase();

// The language that the reader prefers among those that the page has, or the first of
// these.
export const chosen = (languages) => navigator.languages.map(of).find((language) => languages.includes(language)) ?? languages[0];

// The reader's locales in a language, such as "de-AT", and the language itself.
export const localesOf = (language) => [...navigator.languages.filter((tag) => of(tag) === language), language];
