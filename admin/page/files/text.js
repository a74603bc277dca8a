// All text of the page in the reader's language; no file outside text contains any.

import {chosen} from "./language.js";
import site from "./site.json" with {type: "json"};
import {text as de} from "./text/de.js";
import {text as en} from "./text/en.js";

const texts = {en, de};

export const language = site.language || chosen(Object.keys(texts));
export const text = texts[language];
