// JSON and base64 as the gateway writes them, and nothing that another reader could take
// for something else.

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const tokens = /"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/g

// parseObject reads a JSON object from bytes. It throws if a name occurs twice in one
// object, at any depth, if anything is not Unicode, and if a member that has to be an
// integer is written with "." or "e". Its result has no prototype.
export function parseObject(bytes, integers = []) {
	const text = utf8.decode(bytes)
	const object = JSON.parse(text, wellFormed)
	if (!isObject(object)) throw new SyntaxError('it is not an object')
	refuse(text, integers)
	return Object.assign(Object.create(null), object)
}

export function isObject(value) {
	return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function wellFormed(name, value) {
	if (!name.isWellFormed() || (typeof value === 'string' && !value.isWellFormed())) {
		throw new SyntaxError('it is not Unicode')
	}
	return value
}

// refuse looks at the tokens of a text that is JSON for what JSON.parse hides.
function refuse(text, integers) {
	const open = [] // the names of each object that is open; null for a list
	let last, name
	for (const [token] of text.matchAll(tokens)) {
		switch (token) {
			case '{':
				open.push(new Set())
				break
			case '[':
				open.push(null)
				break
			case '}':
			case ']':
				open.pop()
				break
			case ':': {
				const names = open.at(-1)
				name = JSON.parse(last)
				if (names.has(name)) throw new SyntaxError('a name occurs twice')
				names.add(name)
				break
			}
			default:
				if (open.length === 1 && last === ':' && integers.includes(name) && /[.eE]/.test(token)) {
					throw new SyntaxError('a number is not an integer')
				}
		}
		last = token
	}
}

// decodeBase64 returns the bytes of unpadded base64url, or undefined. It takes one
// spelling of each value.
export function decodeBase64(text) {
	const bytes = Buffer.from(text, 'base64url')
	return bytes.toString('base64url') === text ? bytes : undefined
}

// isName reports whether a value can be an id of the gateway's: it is safe in a header.
export function isName(value) {
	return typeof value === 'string' && /^[!-~]{1,128}$/.test(value)
}
