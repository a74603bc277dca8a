// All text of the page in the reader's language; no file outside text contains any.

import {chosen} from "./language.js";
import {text as en} from "./text/en.js";

const texts = {en};

export const language = chosen(Object.keys(texts));
export const text = texts[language];
