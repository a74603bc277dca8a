// Package client calls the admin API of an API-key gateway: it creates, lists,
// rotates and revokes keys, suspends workspaces, reads the audit trail, and takes
// and restores backups.
//
// A [Client] needs to know where the API is mounted, and the admin token if the
// mount asks for one:
//
//	c := &client.Client{
//		BaseURL: "https://app.example.com/settings/api",
//		Token:   os.Getenv("API_KEYS_ADMIN_TOKEN"),
//	}
//	created, err := c.CreateKey(ctx, "acme", client.CreateRequest{
//		Name:   "Zapier production",
//		Preset: client.ReadOnly,
//	})
//
// The zero Client calls Caddy's admin endpoint at its default address on this
// machine.
//
// # Errors
//
// A call that the API refuses returns an [*Error], whose Code is one of the
// constants of this package. [ErrNotServed] means that something else answered.
// Any other error is the transport's or the context's. After a transport error it
// is unknown whether a change was made: read the key or the workspace again. Revoking and
// suspending may simply be repeated. If creating a key got no answer, the key may exist,
// and nobody has its token: find it by its name and revoke it.
//
// # Tokens
//
// A key's token is in only one response, that of [Client.CreateKey] or [Client.RotateKey].
// The package writes no token into an error.
//
// # Timeouts and concurrency
//
// Every call ends with its context. See [Client] for timeouts. A Client may be used by
// several goroutines at the same time, as long as its fields do not change. The package
// sends no request a second time; net/http may repeat a read whose connection broke before
// the answer began.
//
// # Testing
//
// Package clienttest serves the real API in a test, over a store of its own.
package client
