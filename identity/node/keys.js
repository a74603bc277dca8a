import { importJWK } from 'jose'
import { RefusedError, UnavailableError, reasons } from './errors.js'
import { decodeBase64, isName, isObject, parseObject } from './strict.js'

// All in milliseconds.
const fetchTimeout = 5_000
const fetchInterval = 10_000 // the least time from one fetch to the next
const defaultMaxAge = 300_000
const longestMaxAge = 3_600_000
const graceTime = 86_400_000 // how much longer known keys are used if no others can be fetched

const maxSet = 64 << 10

// KeyCache has the gateway's public keys in memory. A request waits for a fetch only if
// there are no fresh keys, or none with the id that it needs.
export class KeyCache {
	#url
	#fetch
	#log
	#elapsed
	#known // {keys, etag, maxAge, fetched}, once a fetch has succeeded
	#latest // the fetch in flight, or the last one: {promise, begun, done, error}
	#failed = false // the last fetch that ended failed

	constructor({ url, fetch, log, elapsed }) {
		this.#url = url
		this.#fetch = fetch
		this.#log = log
		this.#elapsed = elapsed
	}

	// key returns the key with an id. It throws a RefusedError if the gateway does not have
	// it either, and an UnavailableError if nobody can tell.
	async key(id) {
		const known = this.#find(id)
		const age = known ? this.#age() : Infinity
		if (known && age < this.#known.maxAge / 2) return known
		const failing = this.#failed
		const latest = this.#refresh()
		if (known && (age < this.#known.maxAge || failing)) return known // while the next ones are on their way
		await latest.promise
		const key = this.#find(id)
		if (key) return key
		if (latest.error) throw new UnavailableError(latest.error)
		throw new RefusedError(reasons.key)
	}

	#age() {
		return this.#elapsed() - this.#known.fetched
	}

	#find(id) {
		if (!this.#known || this.#age() >= this.#known.maxAge + graceTime) return undefined
		return this.#known.keys.get(id)
	}

	// refresh begins a fetch, unless one is in flight or began a moment ago, and returns the
	// latest.
	#refresh() {
		const latest = this.#latest
		if (latest && (!latest.done || this.#elapsed() - latest.begun < fetchInterval)) return latest
		const begun = { begun: this.#elapsed(), done: false, error: undefined }
		begun.promise = this.#run(begun)
		this.#latest = begun
		return begun
	}

	// run never rejects: nobody may be waiting for it.
	async #run(latest) {
		try {
			this.#known = await this.#get()
			if (this.#failed) this.#log.info(`fetched the keys of the API-key gateway again from ${this.#url}`)
			this.#failed = false
		} catch (error) {
			latest.error = error
			if (!this.#failed) this.#log.error(`cannot fetch the keys of the API-key gateway from ${this.#url}: ${describe(error)}`)
			this.#failed = true
		} finally {
			latest.done = true
		}
	}

	async #get() {
		const fetched = this.#elapsed()
		const known = this.#known
		const headers = { accept: 'application/jwk-set+json, application/json' }
		if (known?.etag) headers['if-none-match'] = known.etag
		const response = await this.#fetch(this.#url, { headers, redirect: 'manual', signal: AbortSignal.timeout(fetchTimeout) })
		const maxAge = maxAgeOf(response.headers.get('cache-control'))
		if (response.status === 304 && known) {
			await response.body?.cancel()
			return { ...known, maxAge, fetched }
		}
		if (response.status !== 200) {
			await response.body?.cancel()
			throw new Error(`the answer has status ${response.status}, want 200`)
		}
		const keys = await parseKeys(await read(response))
		return { keys, etag: response.headers.get('etag'), maxAge, fetched }
	}
}

function describe(error) {
	return error.cause?.message ? `${error.message}: ${error.cause.message}` : error.message
}

// read returns the body of a response, which it stops reading where it is too long.
async function read(response) {
	const chunks = []
	let length = 0
	for await (const chunk of response.body ?? []) {
		length += chunk.length
		if (length > maxSet) throw new Error('the answer is too long for a set of keys')
		chunks.push(chunk)
	}
	return Buffer.concat(chunks)
}

// maxAgeOf returns how long a response is fresh, at least fetchInterval: nothing is fetched
// more often than that anyway.
export function maxAgeOf(cacheControl) {
	for (const directive of (cacheControl ?? '').split(',')) {
		const [name, seconds = ''] = directive.trim().split('=')
		switch (name.toLowerCase()) {
			case 'no-store':
			case 'no-cache':
				return fetchInterval
			case 'max-age':
				if (!/^\d{1,9}$/.test(seconds)) return fetchInterval
				return Math.min(Math.max(seconds * 1000, fetchInterval), longestMaxAge)
		}
	}
	return defaultMaxAge
}

// parseKeys returns the Ed25519 keys of a JWK set by their ids. It ignores keys of other
// types, as RFC 7517 wants (section 5), and throws if there is an Ed25519 key that no
// gateway publishes.
export async function parseKeys(bytes) {
	let set
	try {
		set = parseObject(bytes)
	} catch {
		throw new Error('it is not a JWK set')
	}
	if (!Array.isArray(set.keys)) throw new Error('it has no "keys"')
	const keys = new Map()
	for (const [i, jwk] of set.keys.entries()) {
		if (!isObject(jwk) || typeof jwk.kty !== 'string') throw new Error(`key ${i + 1} is not a JWK`)
		if (jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519') continue
		const fault = faultOf(jwk)
		if (fault) throw new Error(`key ${i + 1} ${fault}`)
		if (keys.has(jwk.kid)) throw new Error(`key ${i + 1} has the id of another`)
		const { kty, crv, x } = jwk
		keys.set(jwk.kid, await importJWK({ kty, crv, x }, 'EdDSA'))
	}
	return keys
}

// faultOf says what is wrong with an Ed25519 key, without its content: it may be private.
function faultOf({ d, kid, alg, use, x }) {
	if (d !== undefined) return 'is a private key: anyone who can read the set can sign with it'
	if (!isName(kid)) return 'has no usable id'
	if (alg !== 'EdDSA' || use !== 'sig') return 'is not for signing with EdDSA'
	const point = typeof x === 'string' ? decodeBase64(x) : undefined
	if (point?.length !== 32 || hasSmallOrder(point)) return 'is not a valid Ed25519 key'
}

// The y coordinates of the points of small order, including those that are not reduced. A
// key of small order has signatures that fit every message.
const smallOrder = new Set([
	'0000000000000000000000000000000000000000000000000000000000000000',
	'0100000000000000000000000000000000000000000000000000000000000000',
	'26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
	'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
	'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
	'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
	'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
])

function hasSmallOrder(point) {
	const y = Buffer.from(point)
	y[31] &= 0x7f // the sign of x
	return smallOrder.has(y.toString('hex'))
}
