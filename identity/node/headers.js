export const defaultNames = {
	assertion: 'X-API-Key-Assertion',
	workspace: 'X-Workspace-ID',
	keyId: 'X-API-Key-ID',
	access: 'X-API-Key-Access',
}

// fold maps a header name to what may become of it on its way to an application's code: CGI
// turns "-" into "_", PHP does the same to ".", and lighttpd to all that is neither letter
// nor digit.
export function fold(name) {
	return name.replace(/[^A-Za-z0-9]/g, '-').toLowerCase()
}

// valuesOf returns the values of a header, one for each line of the request: Node joins
// them in req.headers.
export function valuesOf(req, name) {
	const wanted = name.toLowerCase()
	const values = []
	for (let i = 0; i < req.rawHeaders.length; i += 2) {
		if (req.rawHeaders[i].toLowerCase() === wanted) values.push(req.rawHeaders[i + 1])
	}
	return values
}

// strip removes headers from a request in every spelling, their names from Connection, and
// all trailers.
export function strip(req, folded) {
	const parsed = [req.headers, req.headersDistinct].filter(Boolean) // which Node makes of rawHeaders when asked first
	const kept = []
	for (let i = 0; i < req.rawHeaders.length; i += 2) {
		const name = req.rawHeaders[i]
		let value = req.rawHeaders[i + 1]
		if (folded.has(fold(name))) continue
		if (name.toLowerCase() === 'connection') {
			value = value.split(',').filter((token) => !folded.has(fold(token.trim()))).join(',')
			if (value.trim() === '') continue
		}
		kept.push(name, value)
	}
	replace(req.rawHeaders, kept)
	for (const headers of parsed) {
		for (const name of Object.keys(headers)) {
			if (folded.has(fold(name)) || name === 'connection') delete headers[name]
		}
	}
	const connection = valuesOf(req, 'connection')
	if (connection.length > 0) {
		req.headers.connection = connection.join(', ')
		if (req.headersDistinct) req.headersDistinct.connection = connection
	}
	dropTrailers(req)
}

// set gives a header exactly one value, after strip.
export function set(req, name, value) {
	req.rawHeaders.push(name, value)
	req.headers[name.toLowerCase()] = value
	if (req.headersDistinct) req.headersDistinct[name.toLowerCase()] = [value]
}

function replace(list, items) {
	list.length = 0
	for (const item of items) list.push(item) // not push(...items), which has a limit
}

// dropTrailers hides the trailers, which Node adds when the body has been read.
function dropTrailers(req) {
	for (const [name, value] of [['trailers', {}], ['trailersDistinct', {}], ['rawTrailers', []]]) {
		Object.defineProperty(req, name, { configurable: true, get: () => value, set() {} })
	}
}
