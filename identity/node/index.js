import { isIP } from 'node:net'
import { RefusedError, UnavailableError, reasons } from './errors.js'
import { defaultNames, fold, set, strip, valuesOf } from './headers.js'
import { KeyCache } from './keys.js'
import { Refusals } from './log.js'
import { check, keyIDOf, open } from './token.js'

export { RefusedError, UnavailableError }

const callers = new WeakMap() // by request

// callerOf returns who makes a request that a verifier has let through, and undefined for
// any other. It takes a request of http, Express or Fastify.
export function callerOf(request) {
	return callers.get(request?.raw ?? request)
}

export class Verifier {
	#keys
	#expected
	#binding
	#assertion // the names of the header with the assertion, and of the others
	#names
	#folded
	#refusals
	#now

	constructor(jwksUrl, audience, options = {}) {
		const { issuer, binding = false, headers = {}, plainHttp = false, log = console, fetch = globalThis.fetch, now } = options
		const elapsed = now ?? (() => performance.now()) // the wall clock can be set back
		const url = parseKeysUrl(jwksUrl, plainHttp)
		if (typeof audience !== 'string' || audience === '') {
			throw new TypeError('no audience: name the one that the gateway has in its assertion block')
		}
		const { assertion, ...names } = { ...defaultNames, ...headers }
		this.#assertion = assertion
		this.#names = names
		this.#folded = new Set([...Object.values(defaultNames), ...Object.values(names), assertion].map(fold))
		this.#expected = { issuer: issuer ?? url.origin, audience }
		this.#binding = binding
		this.#refusals = new Refusals(log)
		this.#now = now ?? Date.now
		this.#keys = new KeyCache({ url: url.href, fetch, log, elapsed })
	}

	async verify(token) {
		const id = keyIDOf(token)
		const key = await this.#keys.key(id)
		const caller = check(await open(token, key), this.#expected, Math.floor(this.#now() / 1000))
		if (this.#binding && (caller.method === '' || caller.path === '')) throw new RefusedError(reasons.unbound)
		return caller
	}

	async verifyRequest(req) {
		const assertions = valuesOf(req, this.#assertion)
		const plain = Object.fromEntries(Object.entries(this.#names).map(([of, name]) => [of, valuesOf(req, name)]))
		strip(req, this.#folded)
		if (assertions.length === 0) throw new RefusedError(reasons.missing)
		if (assertions.length > 1) throw new RefusedError(reasons.repeated)
		const caller = await this.verify(assertions[0])
		if ((caller.method !== '' && caller.method !== req.method) || (caller.path !== '' && caller.path !== pathOf(req))) {
			throw new RefusedError(reasons.request)
		}
		const says = { workspace: caller.workspaceId, keyId: caller.keyId, access: caller.access }
		for (const [of, values] of Object.entries(plain)) {
			if (values.length > 1 || (values.length === 1 && values[0] !== says[of])) throw new RefusedError(reasons.headers)
		}
		for (const [of, name] of Object.entries(this.#names)) set(req, name, says[of])
		set(req, this.#assertion, assertions[0])
		callers.set(req, caller)
		return caller
	}

	handler(next) {
		return async (req, res) => {
			if (await this.#admit(req, res)) return next(req, res)
		}
	}

	express() {
		return (req, res, next) => {
			this.#admit(req, res).then((admitted) => admitted && next(), next)
		}
	}

	fastify() {
		return async (request, reply) => {
			try {
				await this.verifyRequest(request.raw)
			} catch (error) {
				const { status, headers, body } = this.#refusal(request.raw, error)
				return reply.code(status).headers(headers).send(body)
			}
		}
	}

	async #admit(req, res) {
		try {
			await this.verifyRequest(req)
			return true
		} catch (error) {
			const { status, headers, body } = this.#refusal(req, error)
			res.writeHead(status, headers)
			res.end(body)
			return false
		}
	}

	// refusal is an answer in the form that the gateway has for its own. An error that
	// nobody expects lets no request through either.
	#refusal(req, error) {
		const headers = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }
		const from = req.socket?.remoteAddress
		if (error instanceof RefusedError) {
			this.#refusals.add('warn', error.reason, `refused a request from ${from} that does not prove that it came through the API-key gateway: ${error.message}`)
			headers['WWW-Authenticate'] = this.#assertion // a 401 has to name a scheme
			return { status: 401, headers, body: '{"error":"Unauthorized."}' }
		}
		if (error instanceof UnavailableError) {
			this.#refusals.add('warn', 'unavailable', `refused a request from ${from}: ${error.message}`)
			headers['Retry-After'] = '10'
			return { status: 503, headers, body: '{"error":"Service Unavailable."}' }
		}
		this.#refusals.add('error', 'unexpected', `refused a request from ${from}: ${error.stack}`)
		return { status: 500, headers, body: '{"error":"Internal Server Error."}' }
	}
}

// pathOf returns the path as it was received, whatever a router has taken from it.
function pathOf(req) {
	const target = req.originalUrl ?? req.url
	const query = target.indexOf('?')
	return query < 0 ? target : target.slice(0, query)
}

// parseKeysUrl refuses a URL from which others could deliver keys. Its errors do not
// contain it: it may have a password.
function parseKeysUrl(text, plainHttp) {
	if (!URL.canParse(text)) throw new TypeError('the URL of the keys is not an absolute URL')
	const url = new URL(text)
	if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new TypeError('the URL of the keys is neither https nor http')
	if (url.username || url.password) throw new TypeError('the URL of the keys has credentials, which it does not need')
	if (url.hash) throw new TypeError('the URL of the keys has a fragment')
	if (url.protocol === 'http:' && !plainHttp && !isLoopback(url.hostname)) {
		throw new TypeError('the URL of the keys is http, and not on this machine: anyone who can change the answer could forge identities; use https, or plainHttp')
	}
	return url
}

function isLoopback(host) {
	return host === 'localhost' || host === '[::1]' || (isIP(host) === 4 && host.startsWith('127.'))
}
