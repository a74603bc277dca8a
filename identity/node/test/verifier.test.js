// The cases that every implementation has to pass, and what is particular to Node. Run
// it with go test ./identity -run '^TestNode', which puts the package where programs
// find it, and says where the cases are.
import assert from 'node:assert/strict'
import { webcrypto } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { describe, test } from 'node:test'
import express from 'express'
import fastify from 'fastify'
import { RefusedError, UnavailableError, Verifier, callerOf } from '@agiled/api-keys-identity'
import { maxAgeOf, parseKeys } from '../keys.js'

const testdata = process.env.IDENTITY_TESTDATA
const cases = JSON.parse(readFileSync(`${testdata}/cases.json`))
const silent = { info() {}, warn() {}, error() {} }

// gateway is where keys are fetched, with a clock: it counts, and can be out of order.
class Gateway {
	set = cases.jwks
	maxAge = 300
	status = 200
	fetches = 0
	same = 0
	elapsed = 0 // seconds since the beginning
	logged = []

	fetch = async (url, { headers, redirect, signal }) => {
		assert.equal(redirect, 'manual')
		assert.ok(signal instanceof AbortSignal)
		this.fetches++
		await this.hang
		const etag = `"${Buffer.from(this.set).toString('base64url').slice(-40)}"`
		const answer = { 'cache-control': `public, max-age=${this.maxAge}`, etag }
		if (headers['if-none-match'] === etag && this.status === 200) {
			this.same++
			return new Response(null, { status: 304, headers: answer })
		}
		return new Response(this.set, { status: this.status, headers: answer })
	}

	verifier(options = {}) {
		const log = { info: (m) => this.logged.push(m), warn: (m) => this.logged.push(m), error: (m) => this.logged.push(m) }
		return new Verifier('https://api.example.com/.well-known/api-keys/jwks.json', cases.audience, {
			issuer: cases.issuer, fetch: this.fetch, log, now: () => (cases.now + this.elapsed) * 1000, ...options,
		})
	}
}

describe('tokens', () => {
	const verifier = new Gateway().verifier()
	for (const { name, token, refused } of cases.tokens) {
		test(name, async () => {
			if (!refused) {
				await verifier.verify(token)
				return
			}
			await assert.rejects(verifier.verify(token), (error) => {
				assert.ok(error instanceof RefusedError, error.stack)
				assert.equal(error.reason, refused)
				assert.ok(token.length < 8 || !error.message.includes(token.slice(0, 8)))
				return true
			})
		})
	}
})

test('the claims of an assertion', async () => {
	const { token } = cases.tokens.find(({ name }) => name === 'honest, bound to a request')
	assert.deepEqual({ ...(await new Gateway().verifier().verify(token)) }, {
		keyId: 'key_01M85NMXCRPQAH7NX5PN817E75', workspaceId: 'acme', access: 'read_only',
		issuer: cases.issuer, audience: cases.audience, issuedAt: cases.now - 10, expiresAt: cases.now + 50,
		method: 'GET', path: '/public/v1/contacts',
	})
})

describe('sets of keys', () => {
	for (const { name, set, keys = [], refused } of cases.sets) {
		test(name, async () => {
			const bytes = Buffer.from(set, 'base64url')
			if (refused) {
				await assert.rejects(parseKeys(bytes), (error) => !/[\w-]{43}/.test(error.message))
				return
			}
			assert.deepEqual([...(await parseKeys(bytes)).keys()].sort(), keys)
		})
	}
})

// The servers that an upstream may use, each with what its own code finds in a request.
const servers = {
	http: async (verifier, seen) => listen(http.createServer(verifier.handler((req, res) => res.end(seen(req))))),
	Express: async (verifier, seen) => {
		const app = express()
		const router = express.Router() // which takes a prefix from req.url
		router.use(verifier.express())
		router.use((req, res) => res.end(seen(req)))
		app.use('/public', router)
		return listen(http.createServer(app))
	},
	Fastify: async (verifier, seen) => {
		const app = fastify()
		app.addHook('onRequest', verifier.fastify())
		app.all('*', async (request) => seen(request))
		await app.listen({ host: '127.0.0.1', port: 0 })
		return app.server
	},
}

async function listen(server) {
	server.listen(0, '127.0.0.1')
	await once(server, 'listening')
	return server
}

// exchange sends a request as it stands, and returns the response.
async function exchange(server, text) {
	const socket = net.connect(server.address().port, '127.0.0.1')
	socket.write(text)
	let answer = ''
	for await (const chunk of socket) answer += chunk
	const [head, body] = [answer.slice(0, answer.indexOf('\r\n\r\n')), answer.slice(answer.indexOf('\r\n\r\n') + 4)]
	const headers = new Headers(head.split('\r\n').slice(1).map((line) => line.split(/: ?(.*)/s, 2)))
	return { status: Number(head.split(' ')[1]), headers, body }
}

function textOf({ method, target, headers }) {
	const lines = (headers ?? []).map(([name, value]) => `${name}: ${value}\r\n`)
	return `${method} ${target} HTTP/1.1\r\nHost: upstream\r\n${lines.join('')}${/connection:/i.test(lines.join('')) ? '' : 'Connection: close\r\n'}\r\n`
}

for (const [kind, start] of Object.entries(servers)) {
	describe(kind, () => {
		for (const c of cases.requests) {
			test(c.name, async () => {
				const gateway = new Gateway()
				const defaults = ['X-Workspace-ID', 'X-API-Key-ID', 'X-API-Key-Access', 'X-API-Key-Assertion']
				const [workspace, keyId, access, assertion] = c.renamed ? cases.renamed : defaults
				const verifier = gateway.verifier({ binding: c.binding, headers: c.renamed && { workspace, keyId, access, assertion } })
				let got
				const server = await start(verifier, (request) => {
					const req = request.raw ?? request
					got = { headers: request.headers, raw: req.rawHeaders, distinct: req.headersDistinct, caller: callerOf(request) }
					return 'ok'
				})
				try {
					const { status, headers, body } = await exchange(server, textOf(c))
					assert.ok(!gateway.logged.join().includes('eyJ'))
					if (c.refused) {
						assert.equal(status, 401)
						assert.match(body, /^(?:19\r\n)?\{"error":"Unauthorized\."\}(?:\r\n0\r\n\r\n)?$/)
						assert.match(headers.get('content-type'), /^application\/json/)
						assert.equal(headers.get('cache-control'), 'no-store')
						assert.equal(headers.get('www-authenticate'), assertion)
						assert.equal(got, undefined)
						assert.ok(gateway.logged[0].endsWith(`: ${c.refused}`), gateway.logged[0])
						return
					}
					assert.equal(status, 200, gateway.logged.join())
					assert.deepEqual([got.caller.workspaceId, got.caller.keyId, got.caller.access], c.identity)
					const wanted = [workspace, keyId, access]
					for (const [i, name] of wanted.entries()) {
						assert.equal(got.headers[name.toLowerCase()], c.identity[i])
						assert.deepEqual(got.distinct[name.toLowerCase()], [c.identity[i]])
					}
					const names = got.raw.filter((_, i) => i % 2 === 0).map((name) => name.replace(/[^a-z0-9]/gi, '-').toLowerCase())
					assert.deepEqual(names.filter((name) => /^x-(workspace-id|api-key|tenant)/.test(name)).sort(), [...wanted, assertion].map((n) => n.toLowerCase()).sort())
					assert.equal(Object.keys(got.headers).filter((name) => /^x.(workspace.id|api.key|tenant)/.test(name)).length, 4)
					assert.ok(!String(got.headers.connection).toLowerCase().includes('workspace'))
				} finally {
					server.closeAllConnections()
					server.close()
				}
			})
		}

		test('without keys', async () => {
			const gateway = new Gateway()
			gateway.status = 500
			const server = await start(gateway.verifier(), () => assert.fail('it reached the upstream'))
			const { status, headers } = await exchange(server, textOf(cases.requests[0]))
			server.close()
			assert.equal(status, 503)
			assert.equal(headers.get('retry-after'), '10')
		})

		test('trailers', async () => {
			let req
			const server = await start(new Gateway().verifier(), (request) => {
				req = request.raw ?? request
				req.resume()
				return 'ok'
			})
			const [[, token]] = cases.requests[0].headers
			const { status } = await exchange(server, `POST /public HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nX-API-Key-Assertion: ${token}\r\n\r\n` +
				'3\r\nabc\r\n0\r\nX-Workspace-ID: globex\r\n\r\n')
			server.close()
			assert.equal(status, 200)
			assert.deepEqual([req.trailers, req.trailersDistinct, req.rawTrailers], [{}, {}, []])
		})
	})
}

test('an error that nobody expects lets no request through', async () => {
	const verifier = new Gateway().verifier({ now: () => { throw new Error('no clock') } })
	const server = await servers.http(verifier, () => assert.fail('it reached the upstream'))
	const { status } = await exchange(server, textOf(cases.requests[0]))
	server.close()
	assert.equal(status, 500)
})

describe('fetching keys', () => {
	const { token } = cases.tokens[0]
	const invented = cases.tokens.find(({ name }) => name === 'an unknown key id').token
	// The tokens expire while a test moves the clock: what matters is whether keys were found.
	const found = (verifier, token) => verifier.verify(token).catch((error) => {
		if (!['it has expired', 'it is from the future'].includes(error.reason)) throw error
	})
	const settled = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

	test('when they are needed', async () => {
		const gateway = new Gateway()
		const verifier = gateway.verifier()
		assert.equal(gateway.fetches, 0)
		for (const [after, fetches] of [[0, 1], [149, 1], [1, 2], [149, 2], [3600, 3]]) {
			gateway.elapsed += after
			await found(verifier, token)
			await settled()
			assert.equal(gateway.fetches, fetches)
		}
		assert.equal(gateway.same, 2)
	})

	test('for invented ids, once in ten seconds', async () => {
		const gateway = new Gateway()
		const verifier = gateway.verifier()
		for (let round = 1; round <= 3; round++) {
			await Promise.all(Array.from({ length: 20 }, () => assert.rejects(verifier.verify(invented), RefusedError)))
			assert.equal(gateway.fetches, round)
			gateway.elapsed += 10
		}
	})

	test('once for all who wait', async () => {
		const gateway = new Gateway()
		const verifier = gateway.verifier()
		let release
		gateway.hang = new Promise((resolve) => { release = resolve })
		const all = Array.from({ length: 100 }, () => verifier.verify(token))
		await settled()
		release()
		await Promise.all(all)
		assert.equal(gateway.fetches, 1)
	})

	test('in an outage', async () => {
		const gateway = new Gateway()
		const verifier = gateway.verifier()
		await found(verifier, token)
		gateway.status = 502
		gateway.elapsed = 3600
		await found(verifier, token)
		await assert.rejects(verifier.verify(invented), UnavailableError)
		assert.equal(gateway.fetches, 2)
		gateway.elapsed = 86400 + 299
		await found(verifier, token)
		await settled()
		gateway.elapsed++
		await assert.rejects(verifier.verify(token), UnavailableError)
		assert.equal(gateway.fetches, 3)
		assert.equal(gateway.logged.length, 1)
		gateway.status = 200
		gateway.elapsed += 10
		await found(verifier, token)
		assert.equal(gateway.logged.length, 2)
	})

	test('whatever the wall clock says', async (t) => {
		let elapsed = 0
		t.mock.method(performance, 'now', () => elapsed * 1000)
		t.mock.method(Date, 'now', () => cases.now * 1000) // set back again and again
		const gateway = new Gateway()
		const verifier = gateway.verifier({ now: undefined })
		for (const fetches of [1, 2, 3]) {
			await verifier.verify(token)
			assert.equal(gateway.fetches, fetches)
			elapsed += 3600
		}
	})

	test('that are no keys', async () => {
		const many = Array.from({ length: 10_000 }, (_, i) => ({ kty: 'OKP', crv: 'Ed25519', x: 'A'.repeat(43), alg: 'EdDSA', use: 'sig', kid: `k${i}` }))
		for (const set of [JSON.stringify({ keys: many }), `${cases.jwks}${' '.repeat(64 << 10)}`, '<html>']) {
			const gateway = new Gateway()
			const verifier = gateway.verifier()
			await found(verifier, token)
			gateway.set = set
			gateway.elapsed = 3600
			await found(verifier, token)
			await assert.rejects(verifier.verify(invented), UnavailableError)
		}
	})

	test('from a redirect', async () => {
		const elsewhere = await listen(http.createServer(() => assert.fail('it followed the redirect')))
		for (const status of [301, 302, 307, 308]) {
			const server = await listen(http.createServer((_, res) => res.writeHead(status, { location: `http://127.0.0.1:${elsewhere.address().port}/` }).end()))
			const verifier = new Verifier(`http://127.0.0.1:${server.address().port}/`, cases.audience, { log: silent })
			await assert.rejects(verifier.verify(token), UnavailableError)
			server.close()
		}
		elsewhere.close()
	})

	test('for as long as the answer says, within bounds', () => {
		const seconds = {
			'public, max-age=300': 300, 'Public,MAX-AGE=600': 600, '': 300, public: 300, 'max-age=0': 10, 'max-age=-1': 10,
			'max-age=x': 10, 'max-age=99999999999999999999': 10, 'max-age=86400': 3600, 'no-store': 10, 'no-cache, max-age=300': 10,
		}
		for (const [cacheControl, want] of Object.entries(seconds)) assert.equal(maxAgeOf(cacheControl), want * 1000, cacheControl)
		assert.equal(maxAgeOf(null), 300_000)
	})
})

test('a flood of refused requests', async (t) => {
	let elapsed = 0
	t.mock.method(performance, 'now', () => elapsed * 1000)
	const gateway = new Gateway()
	const server = await servers.http(gateway.verifier(), () => assert.fail('it reached the upstream'))
	t.after(() => server.close())
	const flood = (n) => Promise.all(Array.from({ length: n }, () => exchange(server, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')))
	await flood(50)
	assert.equal(gateway.logged.length, 1)
	elapsed += 10
	await flood(1)
	assert.equal(gateway.logged.length, 2)
	assert.match(gateway.logged[1], /and 49 more since/)
})

test('arguments', () => {
	const good = ['https://api.example.com/jwks.json', 'http://localhost:8080/', 'http://127.0.0.1/', 'http://[::1]:8080/', new URL('https://a/b')]
	for (const url of good) new Verifier(url, 'contacts')
	new Verifier('http://gateway.internal/', 'contacts', { plainHttp: true })
	for (const [url, message] of Object.entries({
		'': /absolute/, '/jwks.json': /absolute/, 'ftp://a/': /neither/, 'file:///etc/jwks.json': /neither/, 'https://a/#b': /fragment/,
		'https://user:secret@a/': /credentials/, 'http://gateway.internal/': /not on this machine/,
		'http://127.0.0.1.example.com/': /not on this machine/, 'http://0.0.0.0/': /not on this machine/,
	})) {
		assert.throws(() => new Verifier(url, 'contacts'), (error) => message.test(error.message) && !error.message.includes('secret'), url)
	}
	assert.throws(() => new Verifier('https://a/', ''), /no audience/)
})

// What the verifier builds on, as in wycheproof_test.go.
test('Project Wycheproof', async () => {
	const { numberOfTests, testGroups } = JSON.parse(readFileSync(`${testdata}/wycheproof/ed25519_test.json`))
	let done = 0
	for (const { publicKey, tests } of testGroups) {
		const key = await webcrypto.subtle.importKey('raw', Buffer.from(publicKey.pk, 'hex'), 'Ed25519', false, ['verify'])
		for (const { tcId, msg, sig, result } of tests) {
			done++
			assert.equal(await webcrypto.subtle.verify('Ed25519', key, Buffer.from(sig, 'hex'), Buffer.from(msg, 'hex')), result === 'valid', `test ${tcId}`)
		}
	}
	assert.equal(done, numberOfTests)
})
