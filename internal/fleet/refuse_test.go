package fleet

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// What a gateway has heard of, and cannot write to its disk, it refuses although its lease
// lasts, which is a day in static mode. Once it can write, all is as it is elsewhere.
func TestFleet_refusesWhatItCannotApply(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	for _, test := range []struct {
		name    string
		faults  durable.Faults
		recover bool // without a restart
	}{
		{"the disk is full", durable.Faults{Free: func() uint64 { return 0 }}, true},
		{"a change is in doubt", durable.Faults{Commit: func(func() error) error { return errors.New("input/output error") }}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := defaults(cluster)
			o.Static, o.Prefix = true, o.Prefix+test.name+"/"
			all := startGateways(t, 2, o)
			healthy, broken := all[0], all[1]
			ended, rotated, of, other := issue("acme", "Zapier"), issue("acme", "Rotated"), issue("globex", "Globex"), issue("acme", "Other")
			for _, key := range []issued{ended, rotated, of, other} {
				healthy.apply(t, key.Create)
			}
			broken.awaitPosition(t, healthy)
			for _, key := range []issued{ended, rotated, of, other} {
				if !broken.allows(t, key) {
					t.Fatalf("%s is refused from the start", key.Key.Name)
				}
			}
			broken.store.Inject(test.faults)

			// The gateway gets stuck at changes that take nothing away.
			for batch := range 3 {
				var changes []apikey.Change
				for i := range 100 {
					now := time.Now().UTC().Truncate(time.Millisecond)
					changes = append(changes, apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: "test", Do: newKey(fmt.Sprintf("many-%d", batch), fmt.Sprintf("Number %d", i))})
				}
				if _, err := healthy.store.ApplyAll(t.Context(), changes); err != nil {
					t.Fatal(err)
				}
			}
			revokesAt := time.Now().UTC().Truncate(time.Millisecond).Add(4 * time.Second)
			replacement := newKey("acme", "Rotated").Key
			for i, do := range []apikey.Action{
				apikey.Rotate{WorkspaceID: "acme", KeyID: rotated.Key.ID, Replacement: replacement, RevokeOldAt: revokesAt},
				revoke(ended), apikey.Suspend{WorkspaceID: "globex"},
			} {
				before := healthy.Known().Applied
				go func() { _, _ = healthy.try(t.Context(), do) }() // it waits for the broken gateway
				gatewaytest.Await(t, fmt.Sprint("change ", i), func() bool { return healthy.Known().Applied > before })
			}
			gatewaytest.Await(t, "what was taken away to be refused", func() bool { return !broken.allows(t, ended) && !broken.allows(t, of) })
			if !broken.allows(t, rotated) && time.Now().Before(revokesAt) {
				t.Error("a key is refused whose scheduled revocation has not come")
			}
			time.Sleep(time.Until(revokesAt))
			if broken.allows(t, rotated) {
				t.Error("a key is allowed whose scheduled revocation has passed")
			}
			if !broken.Live() || !broken.allows(t, other) {
				t.Errorf("got live = %t, and a key that nobody has ended is refused: this proves nothing", broken.Live())
			}
			if !test.recover {
				return
			}
			broken.store.Inject(durable.Faults{})
			broken.awaitPosition(t, healthy)
			for _, key := range []struct {
				issued
				want authn.Result
			}{{ended, authn.Revoked}, {rotated, authn.Revoked}, {of, authn.Suspended}, {other, authn.Allowed}} {
				if got := broken.judges(t, key.issued); got != key.want {
					t.Errorf("%s, once the disk has space: got %q, want %q", key.Key.Name, got, key.want)
				}
			}
		})
	}
}
