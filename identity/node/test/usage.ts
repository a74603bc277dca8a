// Holds that the types fit the frameworks' own way of being used. It is compiled, not run.
import http from 'node:http'
import { type Caller, RefusedError, UnavailableError, Verifier, callerOf } from '@agiled/api-keys-identity'

const verifier = new Verifier('https://api.example.com/.well-known/api-keys/jwks.json', 'contacts', { binding: true, headers: { workspace: 'X-Tenant' } })

http.createServer(verifier.handler((req, res) => {
	const caller: Caller | undefined = callerOf(req)
	res.end(caller?.workspaceId)
}))

declare const express: { use(handler: (req: http.IncomingMessage, res: http.ServerResponse, next: (error?: unknown) => void) => void): void }
express.use(verifier.express())

declare const fastify: { addHook(name: 'onRequest', hook: (request: { raw: http.IncomingMessage }, reply: object) => Promise<unknown>): void }
fastify.addHook('onRequest', verifier.fastify())

export async function one(token: string): Promise<string> {
	try {
		const { workspaceId, access } = await verifier.verify(token)
		return access === 'full_access' ? workspaceId : ''
	} catch (error) {
		if (error instanceof RefusedError) return error.reason
		if (error instanceof UnavailableError) return String(error.status)
		throw error
	}
}

// @ts-expect-error: there is no such access
export const wrong = (caller: Caller) => caller.access === 'admin'
