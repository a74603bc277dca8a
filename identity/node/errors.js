// An assertion that proves nothing: it is missing, not the gateway's, not for this
// upstream, not for now or not for this request. The message contains nothing of it.
export class RefusedError extends Error {
	name = 'RefusedError'
	status = 401

	constructor(reason) {
		super(`assertion refused: ${reason}`)
		this.reason = reason
	}
}

// The gateway's keys cannot be fetched, so nobody can tell.
export class UnavailableError extends Error {
	name = 'UnavailableError'
	status = 503

	constructor(cause) {
		super(`no signing keys of the gateway: ${cause.message}`, { cause })
	}
}

// Why an assertion is refused, in the words that every implementation uses.
export const reasons = {
	missing: 'there is no assertion',
	repeated: 'there is more than one assertion',
	tooLong: 'it is too long',
	encoding: 'it is not a compact JWS',
	header: 'its header is not that of an assertion',
	key: 'its key is unknown',
	signature: 'its signature is wrong',
	claims: 'its claims are not those of an assertion',
	issuer: 'it has another issuer',
	audience: 'it is for another audience',
	lifetime: 'it is valid for too long',
	expired: 'it has expired',
	future: 'it is from the future',
	unbound: 'it is not bound to a request',
	request: 'it is for another request',
	headers: 'the identity headers say otherwise',
}
