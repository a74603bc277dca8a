// An API behind the gateway that says who is calling, with jose.
//
//	JWKS_URL=https://api.example.com/.well-known/api-keys/jwks.json AUDIENCE=contacts LISTEN=127.0.0.1:9000 node jose.mjs
import http from 'node:http'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'

const keysUrl = new URL(process.env.JWKS_URL)
const audience = process.env.AUDIENCE

const keys = createRemoteJWKSet(keysUrl, { cooldownDuration: 10_000, cacheMaxAge: 300_000 })
const rules = {
	issuer: keysUrl.origin,
	audience,
	algorithms: ['EdDSA'],
	typ: 'api-key+jwt',
	clockTolerance: 5,
	maxTokenAge: 60,
	requiredClaims: ['sub', 'workspace_id', 'access', 'exp'],
}

// callerOf returns the verified claims, and throws if there are none.
async function callerOf(req) {
	// Node joins repeated headers with a comma, which no token has.
	const { payload } = await jwtVerify(req.headers['x-api-key-assertion'] ?? '', keys, rules)
	const { method = req.method, path, exp, iat } = payload
	if (exp - iat > 60) throw new errors.JWTInvalid('valid for too long')
	if (method !== req.method || (path !== undefined && path !== req.url.split('?')[0])) {
		throw new errors.JWTInvalid('for another request')
	}
	return payload
}

// These mean that the keys could not be fetched: nobody can tell whether the request is good.
const unavailable = ['ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID', 'ERR_JOSE_GENERIC']

const server = http.createServer(async (req, res) => {
	let status = 200
	let body
	try {
		const { workspace_id: workspace, sub: key, access } = await callerOf(req)
		body = { workspace, key, access }
	} catch (error) {
		const refused = error instanceof errors.JOSEError && !unavailable.includes(error.code)
		status = refused ? 401 : 503
		body = { error: refused ? 'Unauthorized.' : 'Service Unavailable.' }
	}
	res.writeHead(status, { 'Content-Type': 'application/json' })
	res.end(JSON.stringify(body))
})

const [host, port] = process.env.LISTEN.split(':')
server.listen(port, host, () => console.log(`listening on http://${host}:${server.address().port}`))
