package test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// TestFleet_clockAnHourOff has one gateway of a fleet be an hour ahead of the other: each
// judges by its own confirmed time, changes keep their order, and what is taken away is
// taken away from both. Seen from a replica, a confirmed time in the future and a clock in
// the past are the same.
func TestFleet_clockAnHourOff(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	fleet := startFleet(t, 2, cluster)
	right, ahead := fleet[0], fleet[1]
	ahead.Stop()
	replica, err := store.OpenReplica(ahead.Store, "/api-keys/", zap.NewNop(), nil)
	must(t, err)
	must(t, replica.NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: time.Now().Add(time.Hour)} }))
	must(t, replica.Close())
	ahead.restart(fleetConfig(cluster.Endpoints()))

	create := func(s *server, name, life string) client.NewKey {
		t.Helper()
		made, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: name, Preset: "full_access", ExpiresIn: &life})
		must(t, err)
		return made
	}
	short := create(right, "Warehouse sync", "30m")
	long := create(ahead, "Zapier production", "30m") // which ends 90 minutes from now
	last := create(right, "Nightly export", "2h")
	for _, s := range fleet {
		s.Await("the keys", func() bool { return s.status(t, last.Token) == 200 })
	}
	if want := time.Now().Add(90 * time.Minute); long.Key.ExpiresAt.Sub(want).Abs() > time.Minute {
		t.Errorf("a key of the gateway that is ahead ends at %v, want %v", long.Key.ExpiresAt, want)
	}
	if got := right.status(t, short.Token); got != 200 {
		t.Errorf("the key of 30 minutes, where the clock is right: got status %d, want 200", got)
	}
	expired := ahead.get(t, short.Token)
	if got := expired.Header.Get("WWW-Authenticate"); expired.StatusCode != 401 || !strings.Contains(got, "The token expired.") {
		t.Errorf("the key of 30 minutes, an hour ahead: got status %d and %q, want 401 because it has expired", expired.StatusCode, got)
	}
	for i, s := range fleet {
		if got := s.status(t, long.Token); got != 200 {
			t.Errorf("gateway %d, a key that was made an hour ahead: got status %d, want 200", i, got)
		}
	}

	for i, revoke := range []struct {
		by  *server
		key client.NewKey
	}{{right, long}, {ahead, last}} { // long is revoked before it was made, by the clocks
		revoked, err := revoke.by.Keys().RevokeKey(t.Context(), "acme", revoke.key.Key.ID, "")
		if p := revoked.Propagation; err != nil || p.State != client.Confirmed || p.Gateways != 2 || p.WaitedMS > 2000 {
			t.Errorf("revocation %d: got the propagation %+v, %v, want it confirmed by 2 gateways at once", i, p, err)
		}
		for j, s := range fleet {
			if got := s.status(t, revoke.key.Token); got != 401 {
				t.Errorf("gateway %d: got status %d after revocation %d, want 401", j, got, i)
			}
		}
	}
	want := []string{short.Key.ID, long.Key.ID, last.Key.ID, long.Key.ID, last.Key.ID}
	for i, s := range fleet {
		var got []string
		for e, err := range s.Keys().AllEvents(t.Context(), "acme") {
			must(t, err)
			got = append(got, e.KeyID)
		}
		if slices.Reverse(got); !reflect.DeepEqual(got, want) {
			t.Errorf("gateway %d: got events of the keys %q, want them in the order of the changes: %q", i, got, want)
		}
	}
}
