package test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// TestFleet_static: a gateway in static mode serves without etcd, even when it is killed
// and started again. What is revoked elsewhere is pending until it is back, and names it.
func TestFleet_static(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	proxy := etcdtest.NewProxy(t, cluster.Member(0).Address())
	there, away := newRacedServer(t), newRacedServer(t)
	there.Run(fleetConfig(cluster.Endpoints(), "mode static", briefLease, "name there"))
	config := fleetConfig([]string{"http://" + proxy.Addr()}, "mode static", briefLease, "name away")
	away.Run(config)
	for _, s := range []*server{there, away} {
		s.AwaitReady()
	}
	key, token := there.Create("acme", "Warehouse sync", "full_access")
	away.Await("the new key", func() bool { return away.status(t, token) == 200 })

	proxy.Drop()
	away.Await("the loss of etcd to be noticed", func() bool { return strings.Contains(away.healthOf(t, "fleet"), "out of contact since") })
	for _, when := range []string{"cut off", "restarted"} {
		if got := away.status(t, token); got != 200 {
			t.Errorf("%s: got status %d without etcd, want 200", when, got)
		}
		if left := away.leaseRemaining(t); left > 24*time.Hour || left < 24*time.Hour-10*time.Minute {
			t.Errorf("%s: got a lease of %s in the metrics, want almost a day", when, left)
		}
		_, err := away.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: when, Preset: "read_only"})
		if got := codeOf(err); got != "store_unavailable" {
			t.Errorf("%s: got %v for a change without etcd, want store_unavailable", when, err)
		}
		revoked, err := there.Keys().RevokeKey(t.Context(), "acme", key.ID, "")
		if p := revoked.Propagation; err != nil || p.State != client.Pending || !slices.Equal(p.Behind, []string{"away"}) {
			t.Errorf("%s: got %+v, %v; want a revocation that is pending for the gateway that is away", when, p, err)
		}
		if when == "cut off" {
			away.kill(t)
			away.runAgain(config)
			away.AwaitReady()
		}
	}

	proxy.Pass()
	away.Await("the revocation", func() bool { return away.status(t, token) == 401 })
	there.Await("the gateway that was killed to be gone", func() bool {
		revoked, err := there.Keys().RevokeKey(t.Context(), "acme", key.ID, "")
		return err == nil && revoked.Propagation.State == client.Confirmed && revoked.Propagation.Gateways == 2
	})
}

// TestFleet_staticTooLong: a gateway in static mode serves for no longer than a day
// without etcd, however often it is restarted.
func TestFleet_staticTooLong(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	s := newRacedServer(t)
	config := fleetConfig(cluster.Endpoints(), "mode static")
	s.Run(config)
	s.AwaitReady()
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	cluster.Member(0).Kill()
	for _, test := range []struct {
		ago  time.Duration
		want int
	}{{23 * time.Hour, 200}, {25 * time.Hour, 503}} {
		s.kill(t)
		s.contactWas(t, time.Now().Add(-test.ago))
		s.runAgain(config)
		s.Await("the gateway to listen", func() bool {
			response, err := http.Get("http://" + s.Plain)
			if err == nil {
				response.Body.Close()
			}
			return err == nil
		})
		if got := s.status(t, token); got != test.want {
			t.Errorf("in contact %s ago: got status %d, want %d", test.ago, got, test.want)
		}
		if got := s.Healthy(); got != (test.want == 200) {
			t.Errorf("in contact %s ago: healthy: got %t", test.ago, got)
		}
		if left, want := s.leaseRemaining(t), max(24*time.Hour-test.ago, 0); left > want || left < want-time.Minute {
			t.Errorf("in contact %s ago: got a lease of %s in the metrics, want %s", test.ago, left, want)
		}
	}
	cluster.Member(0).Start()
	s.Await("the gateway to serve again", func() bool { return s.status(t, token) == 200 })
}

// kill kills the server, and waits until it is gone.
func (s *server) kill(t *testing.T) {
	t.Helper()
	must(t, s.Cmd.Process.Kill())
	<-s.Exited
}

func (s *server) runAgain(config string) {
	s.Exited = make(chan struct{})
	s.Run(config)
}

// contactWas has a gateway that is stopped believe that it was last in contact with its
// fleet at a time.
func (s *server) contactWas(t *testing.T, at time.Time) {
	t.Helper()
	replica, err := store.OpenReplica(s.Store, "/api-keys/", zap.NewNop(), nil)
	must(t, err)
	contact, _, err := replica.Contact()
	must(t, err)
	contact.At = at
	must(t, replica.NoteContact(t.Context(), contact))
	must(t, replica.NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: at} }))
	must(t, replica.Close())
}

// healthOf returns a field of what healthz answers.
func (s *server) healthOf(t *testing.T, field string) string {
	t.Helper()
	response, err := http.Get("http://" + s.Admin + "/api-keys/healthz")
	must(t, err)
	defer response.Body.Close()
	health := make(map[string]any)
	must(t, json.NewDecoder(response.Body).Decode(&health))
	value, _ := health[field].(string)
	return value
}

// leaseRemaining returns how long the gateway may serve, by its metrics.
func (s *server) leaseRemaining(t *testing.T) time.Duration {
	t.Helper()
	response, err := http.Get("http://" + s.Admin + "/metrics")
	must(t, err)
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	must(t, err)
	found := regexp.MustCompile(`(?m)^caddy_api_keys_fleet_lease_remaining_seconds (\S+)$`).FindSubmatch(all)
	if found == nil {
		t.Fatal("the metrics do not have the lease")
	}
	seconds, err := strconv.ParseFloat(string(found[1]), 64)
	must(t, err)
	return time.Duration(seconds * float64(time.Second))
}
