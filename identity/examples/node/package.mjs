// An API behind the gateway that says who is calling, with the package for Node.
//
//	JWKS_URL=https://api.example.com/.well-known/api-keys/jwks.json AUDIENCE=contacts LISTEN=127.0.0.1:9000 node package.mjs
import http from 'node:http'
import { Verifier, callerOf } from '@agiled/api-keys-identity'

const verifier = new Verifier(process.env.JWKS_URL, process.env.AUDIENCE)

const server = http.createServer(verifier.handler((req, res) => {
	const { workspaceId, keyId, access } = callerOf(req)
	res.writeHead(200, { 'Content-Type': 'application/json' })
	res.end(JSON.stringify({ workspace: workspaceId, key: keyId, access }))
}))

const [host, port] = process.env.LISTEN.split(':')
server.listen(port, host, () => console.log(`listening on http://${host}:${server.address().port}`))
