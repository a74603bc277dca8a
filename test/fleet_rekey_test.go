package test

import (
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// TestFleet_rekey: the integrity key is replaced while the gateways serve, and the old one
// is of no use afterwards.
func TestFleet_rekey(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	newKey := strings.Repeat("a1", 32)
	sealing := func(keys ...string) string {
		return strings.Replace(fleetConfig(cluster.Endpoints()), "integrity_key "+fleetKey, "integrity_key "+strings.Join(keys, " "), 1)
	}
	fleet := startFleet(t, 2, cluster)
	key, token := fleet[0].Create("acme", "Warehouse sync", "full_access")
	reload := func(config string) {
		t.Helper()
		for _, s := range fleet {
			if out, err := s.Reload(config); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	reload(sealing(fleetKey, newKey))
	if out, err := fleet[0].Reload(sealing(newKey, fleetKey)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	fleet[0].Await("a refusal, while the other gateway seals with the old key", func() bool {
		out, err := fleet[0].run("fleet", "rekey", "--address", fleet[0].Admin)
		return err != nil && strings.Contains(out, "Other gateways seal with another integrity key: ")
	})
	reload(sealing(newKey, fleetKey))
	fleet[0].Await("all values to be sealed again", func() bool {
		out, err := fleet[0].run("fleet", "rekey", "--address", fleet[0].Admin, "-o", "table")
		return err == nil && strings.Contains(out, "None now needs a key other than")
	})
	reload(sealing(newKey))

	fresh := newRacedServer(t)
	fresh.Run(sealing(newKey))
	fresh.AwaitReady()
	fleet = append(fleet, fresh)
	for _, s := range fleet {
		s.wantStatus(t, token, 200)
	}
	fresh.Revoke(key)
	for _, s := range fleet {
		s.wantStatus(t, token, 401)
	}
	for _, s := range fleet {
		if log := s.Log.String(); strings.Contains(log, "something other than a gateway has written") {
			t.Error("a gateway took what was sealed again for something else")
		}
	}
}
