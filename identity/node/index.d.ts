import type { IncomingMessage, ServerResponse } from 'node:http'

/** Who makes a request: what the gateway's assertion says of it. */
export interface Caller {
	/** The id of the API key, as in X-API-Key-ID. */
	readonly keyId: string
	/** The workspace that the key belongs to, as in X-Workspace-ID. */
	readonly workspaceId: string
	/** What the key may do, as in X-API-Key-Access. */
	readonly access: 'full_access' | 'read_only'
	readonly issuer: string
	readonly audience: string
	/** In seconds since 1970. */
	readonly issuedAt: number
	/** In seconds since 1970, at most 60 after issuedAt. */
	readonly expiresAt: number
	/** The method of the one request that the assertion is for; empty if it is for any. */
	readonly method: string
	/** The escaped path of that request, without the query; empty if it is for any. */
	readonly path: string
}

/** Where refused requests and trouble with the keys are logged. */
export interface Log {
	info(message: string): void
	warn(message: string): void
	error(message: string): void
}

export interface Options {
	/** The issuer that assertions must have. Default: the origin of the URL of the keys. */
	issuer?: string
	/** Refuse assertions that are not bound to a method and a path. Use it if the gateway has "bind request". */
	binding?: boolean
	/** The names of the identity headers, if the operator of the gateway has changed them. */
	headers?: { assertion?: string; workspace?: string; keyId?: string; access?: string }
	/** Allow keys to be fetched without TLS from other machines. Who can change what is received then can forge assertions. */
	plainHttp?: boolean
	/** Has one line in 10 seconds for each reason, which says how many more there were since the last one. Default: console. */
	log?: Log
	/** Fetches the keys. Default: the global fetch. */
	fetch?: typeof globalThis.fetch
	/** The time, in milliseconds since 1970, also for how old keys are. Default: Date.now, and performance.now for that. */
	now?: () => number
}

/** The assertion proves nothing. The message says why, and contains nothing of it. */
export declare class RefusedError extends Error {
	readonly status: 401
	readonly reason: string
}

/** The gateway's keys cannot be fetched, so nobody can tell. */
export declare class UnavailableError extends Error {
	readonly status: 503
}

/**
 * Verifies assertions with the gateway's public keys, which it fetches when it first needs
 * them, and again before they are out of date.
 */
export declare class Verifier {
	/** Keys are at jwksUrl, which has to be https, or http on this machine. */
	constructor(jwksUrl: string | URL, audience: string, options?: Options)

	/** Middleware for Express: it answers requests without a valid assertion. */
	express(): (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

	/** A hook for Fastify: `app.addHook('onRequest', verifier.fastify())`. */
	fastify(): (request: { raw: IncomingMessage }, reply: any) => Promise<unknown>

	/** Wraps a request listener of `http`. */
	handler<Request extends IncomingMessage, Response extends ServerResponse>(
		next: (req: Request, res: Response) => unknown,
	): (req: Request, res: Response) => Promise<unknown>

	/**
	 * Removes the identity headers from a request, in every spelling, and all trailers; then
	 * sets them to what its assertion says. Rejects with a RefusedError or an
	 * UnavailableError, after which the request has none.
	 */
	verifyRequest(req: IncomingMessage): Promise<Caller>

	/**
	 * Verifies an assertion. It does not know the request: compare it with method and path,
	 * unless they are empty.
	 */
	verify(token: string): Promise<Caller>
}

/** Who makes a request that a verifier has let through; undefined for any other. */
export declare function callerOf(request: IncomingMessage | { raw: IncomingMessage }): Caller | undefined
