package fleet

import (
	"reflect"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// A replica whose files are rebuilt while it is in use, because a merge has lost a table,
// follows the fleet from where it was, and has the same records.
func TestFleet_mergeLost(t *testing.T) {
	t.Parallel()
	o := defaults(etcdtest.Shared(t, 1))
	healthy := startGateways(t, 1, o)[0]
	core, logged := observer.New(zap.InfoLevel)
	o.Log = zap.New(core)
	rebuilt := startGateways(t, 1, o)[0]
	before, meanwhile, after, other := issue("acme", "before"), issue("acme", "meanwhile"), issue("acme", "after"), issue("acme", "other")
	for _, key := range []issued{before, meanwhile, after, other} {
		healthy.apply(t, key.Create)
	}
	healthy.apply(t, revoke(before))
	rebuilt.awaitPosition(t, healthy)
	var lost atomic.Bool
	lost.Store(true)
	rebuilt.store.Inject(durable.Faults{MergeLost: func() bool { return lost.Swap(false) }})
	gatewaytest.Await(t, "the loss to be noticed", func() bool { return !lost.Load() })
	revokeIn := func(when string, key issued) {
		t.Helper()
		if got := healthy.apply(t, revoke(key)).Propagation; !got.Confirmed {
			t.Errorf("revoked %s: got the propagation %+v, want it confirmed", when, got)
		}
		if rebuilt.allows(t, key) {
			t.Errorf("a key is allowed that was revoked %s", when)
		}
	}
	revokeIn("meanwhile", meanwhile)
	gatewaytest.Await(t, "the files to be rebuilt", func() bool { return logged.FilterMessage(string(durable.Rebuilt)).Len() == 1 })
	gatewaytest.Await(t, "keys to be allowed again", func() bool { return rebuilt.allows(t, other) })
	revokeIn("afterwards", after)

	rebuilt.awaitPosition(t, healthy)
	for _, key := range []issued{before, meanwhile, after} {
		if got := rebuilt.judges(t, key); got != authn.Revoked {
			t.Errorf("the key that was revoked %s: got %q, want %q", key.Key.Name, got, authn.Revoked)
		}
	}
	if got, want := rebuilt.records(t), healthy.records(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got %d records, want the same %d as elsewhere", len(got), len(want))
	}
	const differs = "the records of this gateway differ from those of the gateway that made this change"
	if logged.FilterMessage(differs).Len() > 0 {
		t.Errorf("logged: %s", differs)
	}
}
