package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestDoctor(t *testing.T) {
	a := newAPI(t)
	a.create(t, "acme", "Zapier")
	got, err := newClient(a.URL).Doctor(t.Context())
	if err != nil {
		t.Fatalf("Doctor: got error %v, want findings", err)
	}
	var checks []string
	for _, f := range got {
		checks = append(checks, f.Check)
		if f.Severity != client.SeverityOK || f.Message == "" || f.Advice != "" {
			t.Errorf("got %+v, want nothing wrong", f)
		}
	}
	equal(t, "checks", checks, []string{"permissions", "space", "changes", "clock", "journal", "tables", "records"})

	if err := a.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(a.URL).Doctor(t.Context()); codeOf(err) != client.CodeStoreUnavailable {
		t.Errorf("a closed store: got error %v, want store_unavailable", err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	defer other.Close()
	if _, err := newClient(other.URL).Doctor(t.Context()); !errors.Is(err, client.ErrNotServed) {
		t.Errorf("something else: got error %v, want ErrNotServed", err)
	}
}

// A gateway of a fleet says whether it serves there, and not that changes can be made if the
// fleet takes none.
func TestDoctor_fleet(t *testing.T) {
	const (
		lookUp  = "Look the cause up in docs/fleet.md, under When something fails."
		space   = "Make space in etcd: docs/fleet.md says how."
		silent  = "no member of etcd answers"
		quota   = 1000
		serving = apikey.GatewayServing
	)
	for name, test := range map[string]struct {
		state apikey.FleetStatus
		want  client.Finding
	}{
		"all is well": {
			apikey.FleetStatus{Lease: 10 * time.Second, Gateways: []apikey.GatewayStatus{{State: serving}, {State: serving}, {State: apikey.GatewayLoading}}},
			client.Finding{Severity: client.SeverityOK, Message: "This gateway takes part in its fleet, in which 2 gateways serve."},
		},
		"alone": {
			apikey.FleetStatus{Lease: 10 * time.Second, Space: apikey.FleetSpace{Used: 1, Quota: quota}},
			client.Finding{Severity: client.SeverityOK, Message: "This gateway takes part in its fleet, and is the only one that serves."},
		},
		"no lease": {
			apikey.FleetStatus{Problem: silent},
			client.Finding{Severity: client.SeverityError, Message: "This gateway refuses all requests, because it has no lease of its fleet: no member of etcd answers.", Advice: lookUp},
		},
		"out of contact": {
			apikey.FleetStatus{Problem: silent, Lease: 9 * time.Second, Heard: start},
			client.Finding{
				Severity: client.SeverityError, Advice: lookUp,
				Message: "No changes are made: this gateway has been out of contact with its fleet since 2026-03-01T12:00:00Z, and refuses all requests in 9s: no member of etcd answers.",
			},
		},
		"etcd is full": {
			apikey.FleetStatus{Lease: time.Second, Space: apikey.FleetSpace{Used: quota - quota/10 + 1, Quota: quota}},
			client.Finding{
				Severity: client.SeverityError, Advice: space,
				Message: "The fleet's etcd is full: keys can be revoked and workspaces suspended, but every other change is refused.",
			},
		},
		"etcd has reached its quota": {
			apikey.FleetStatus{Lease: time.Second, Space: apikey.FleetSpace{Used: quota, Quota: quota}},
			client.Finding{Severity: client.SeverityError, Message: "No changes are made, not even revocations: the fleet's etcd has reached its quota.", Advice: space},
		},
		"registrations that cannot be read": {
			apikey.FleetStatus{Prefix: "/api-keys/", Lease: time.Second, Gateways: []apikey.GatewayStatus{
				{ID: "A", State: serving}, {ID: "B", State: apikey.GatewayUnreadable}, {ID: "C", State: apikey.GatewayUnreadable},
			}},
			client.Finding{
				Severity: client.SeverityWarning,
				Message:  "Revocations and suspensions stay pending, because this gateway cannot read what is registered in etcd as /api-keys/gw/B and /api-keys/gw/C.",
				Advice:   "If a gateway with another integrity_key is running, correct that. Once you are sure that the process is gone, delete what it has left with etcdctl del: docs/fleet.md says how, under Remove what a gateway has left.",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := newClient(inFleet(t, test.state).URL).Doctor(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			test.want.Check = "fleet"
			equal(t, "finding", found[len(found)-1], test.want)
			canChange := slices.ContainsFunc(found, func(f client.Finding) bool { return f.Check == "changes" })
			equal(t, "says that changes can be made", canChange, test.want.Severity != client.SeverityError)
		})
	}
}
