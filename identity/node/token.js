import { compactVerify, errors } from 'jose'
import { RefusedError, reasons } from './errors.js'
import { decodeBase64, isName, parseObject } from './strict.js'

const maxToken = 16 << 10
const maxLifetime = 60
const leeway = 5 // seconds that the clocks may be apart
const members = ['alg', 'typ', 'kid']

// keyIDOf returns the id of the key that an assertion claims to be signed with. Its header
// has nothing else: what there is names a key (jku, jwk, x5u, x5c), or changes what is
// signed (b64, crit) or how it is read (cty, zip).
export function keyIDOf(token) {
	if (token.length > maxToken) throw new RefusedError(reasons.tooLong)
	const parts = token.split('.').map(decodeBase64)
	if (parts.length !== 3 || parts.includes(undefined)) throw new RefusedError(reasons.encoding)
	let header
	try {
		header = parseObject(parts[0])
	} catch {
		throw new RefusedError(reasons.header)
	}
	const { alg, typ, kid } = header
	if (Object.keys(header).some((name) => !members.includes(name)) || alg !== 'EdDSA' || typ !== 'api-key+jwt' || !isName(kid)) {
		throw new RefusedError(reasons.header)
	}
	return kid
}

// open verifies the signature of a token that keyIDOf has accepted, and returns its claims.
export async function open(token, key) {
	let payload
	try {
		;({ payload } = await compactVerify(token, key, { algorithms: ['EdDSA'] }))
	} catch (error) {
		if (error instanceof errors.JOSEError) throw new RefusedError(reasons.signature)
		throw error
	}
	try {
		return parseObject(payload, ['iat', 'exp'])
	} catch {
		throw new RefusedError(reasons.claims)
	}
}

// check throws if claims are not those of an assertion for an audience at a time, which is
// in seconds. It returns what they say of the caller.
export function check(claims, { issuer, audience }, now) {
	const { iss, aud, iat, exp, sub, workspace_id, access, method = '', path = '' } = claims
	if (![iss, aud, method, path].every((value) => typeof value === 'string' || value === undefined || value === null)) {
		throw new RefusedError(reasons.claims)
	}
	if (!isSecond(iat) || !isSecond(exp) || !isName(sub) || !isName(workspace_id)) throw new RefusedError(reasons.claims)
	if (access !== 'full_access' && access !== 'read_only') throw new RefusedError(reasons.claims)
	if (iss !== issuer) throw new RefusedError(reasons.issuer)
	if (aud !== audience) throw new RefusedError(reasons.audience)
	if (exp < iat || exp - iat > maxLifetime) throw new RefusedError(reasons.lifetime)
	if (now >= exp + leeway) throw new RefusedError(reasons.expired)
	if (now + leeway < iat) throw new RefusedError(reasons.future)
	return Object.freeze({
		keyId: sub,
		workspaceId: workspace_id,
		access,
		issuer: iss,
		audience: aud,
		issuedAt: iat,
		expiresAt: exp,
		method: method ?? '',
		path: path ?? '',
	})
}

function isSecond(value) {
	return Number.isSafeInteger(value) && value > 0
}
