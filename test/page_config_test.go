package test

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// pageConfig has a gateway, and the Settings page of every kind of mount.
const pageConfig = `{
	admin {{.Admin}}
	grace_period 5s
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
}
http://{{.Plain}} {
	log
	handle /public/v1/* {
		api_key_auth {
			browsers refuse
		}
		reverse_proxy {{.Upstream}}
	}
	handle /settings/api* {
		api_key_admin {
			base_path /settings/api
			trust_upstream_auth
			actor dana@acme.example
		}
	}
	handle /pinned* {
		api_key_admin {
			base_path /pinned
			trust_upstream_auth
			workspace acme
		}
	}
	handle /nobody* {
		api_key_admin {
			base_path /nobody
			trust_upstream_auth
			workspace {http.request.header.X-Nobody}
		}
	}
	handle /token* {
		api_key_admin {
			base_path /token
			token an-admin-token-of-the-test
		}
	}
}
`

// page returns the address of the page that needs no token.
func (s *server) page() string { return s.origin() + "/settings/api/" }

func (s *server) origin() string { return "http://" + s.Plain }

// furnished starts a server with a workspace, acme, as one looks after a while.
func furnished(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	furnish(t, s.Store)
	s.Run(pageConfig)
	s.AwaitReady()
	return s
}

// A past is what has happened in a store before a server uses it.
type past struct {
	t     *testing.T
	store *store.Store
	uses  map[string]apikey.Use
}

const dayLong = 24 * time.Hour

func furnish(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o700))
	keys, err := store.Open(dir, zap.NewNop(), nil)
	must(t, err)
	p := &past{t: t, store: keys, uses: map[string]apikey.Use{}}

	p.create("Legacy CRM import", "", apikey.FullAccess, 88*dayLong, 61*dayLong)
	p.create("Analytics notebook", "Data", apikey.ReadOnly, 64*dayLong, 41*dayLong)
	p.create("Zapier production", "Ops", apikey.ReadOnly, 84*dayLong, 40*time.Minute)
	shop := p.create("Storefront widget", "Web", apikey.ReadOnly, 20*dayLong, 3*time.Hour)
	p.do(2*dayLong, apikey.Expose{WorkspaceID: "acme", KeyID: shop.ID})
	p.create("Finance export job", "Finance", apikey.ReadOnly, 12*dayLong, 9*time.Hour)
	sync := p.create("Warehouse sync production", "Ops", apikey.FullAccess, 60*dayLong, 4*time.Minute)
	p.create("Warehouse sync staging", "Ops", apikey.FullAccess, 31*dayLong, 26*time.Hour)
	partner := p.create("Partner portal", "Sales", apikey.ReadOnly, 45*dayLong, 30*dayLong)
	p.do(9*dayLong, apikey.Revoke{WorkspaceID: "acme", KeyID: partner.ID, Reason: "The contract ended"})
	p.do(6*dayLong, apikey.Suspend{WorkspaceID: "acme", Reason: "Invoice 4711 is open"})
	p.do(5*dayLong, apikey.Resume{WorkspaceID: "acme"})

	replacement := p.key("Warehouse sync production 2", "", apikey.FullAccess, 2*time.Hour)
	p.do(2*time.Hour, apikey.Rotate{WorkspaceID: "acme", KeyID: sync.ID, Replacement: replacement, RevokeOldAt: time.Now().Add(5 * dayLong)})

	p.request(shop.ID, 20, apikey.Usage{Reads: 210, Refused: 14})
	p.request(sync.ID, 30, apikey.Usage{Reads: 1440, Writes: 260, RateLimited: 3})
	must(t, keys.NoteUses(p.uses))
	must(t, keys.Close())
}

// request notes that a key was used on each of the last days, as often on Sundays as it
// says, and more often on the other days.
func (p *past) request(id string, days int, usage apikey.Usage) {
	p.t.Helper()
	used := map[apikey.KeyDay]apikey.Usage{}
	for i := range days {
		at := time.Now().Add(-time.Duration(i) * dayLong)
		day := apikey.KeyDay{KeyID: id, Day: apikey.DayOf(at)}
		for range 1 + at.UTC().Weekday() {
			used[day] = used[day].Plus(usage)
		}
	}
	must(p.t, p.store.NoteUsage(used))
}

// key returns a key that was made some time ago, and lives 90 days.
func (p *past) key(name, owner string, preset apikey.Preset, ago time.Duration) apikey.Key {
	made := time.Now().Add(-ago).Truncate(time.Millisecond)
	token := apikey.NewToken("agk")
	return apikey.Key{
		ID: apikey.NewKeyID(made), WorkspaceID: "acme", Name: name, Owner: owner, Preset: preset,
		Digest: token.Digest(), TokenHint: token.Hint(), CreatedBy: "dana@acme.example",
		CreatedAt: made, ExpiresAt: made.Add(90 * dayLong),
	}
}

// create adds a key, and notes when it was used last.
func (p *past) create(name, owner string, preset apikey.Preset, ago, used time.Duration) apikey.Key {
	p.t.Helper()
	key := p.key(name, owner, preset, ago)
	p.do(ago, apikey.Create{Key: key})
	p.uses[key.ID] = apikey.Use{At: time.Now().Add(-used), From: "198.51.100.7"}
	return key
}

func (p *past) do(ago time.Duration, action apikey.Action) {
	p.t.Helper()
	at := time.Now().Add(-ago).Truncate(time.Millisecond)
	_, err := p.store.Apply(context.Background(), apikey.Change{
		EventID: apikey.NewEventID(at), At: at, Actor: "dana@acme.example", RemoteIP: "203.0.113.7", Do: action,
	})
	must(p.t, err)
}
