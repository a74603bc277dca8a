package test

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

const fleetKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// The leases of tests that wait for their end. Such a test must not mind if the machine stops
// and they end early, which the second ones do not within some seconds.
const (
	briefLease = "max_staleness 3s"
	shortLease = "max_staleness 8s"
)

// fleetConfig returns httpOnly(gatewayConfig) for the gateways of a fleet.
func fleetConfig(endpoints []string, lines ...string) string {
	lines = append([]string{"endpoints " + strings.Join(endpoints, " "), "integrity_key " + fleetKey}, lines...)
	return strings.Replace(httpOnly(gatewayConfig), "store badger {", "store etcd {\n\t\t\t"+strings.Join(lines, "\n\t\t\t"), 1)
}

// startFleet starts gateways of one fleet.
func startFleet(t *testing.T, gateways int, cluster *etcdtest.Cluster, lines ...string) (fleet []*server) {
	t.Helper()
	for range gateways {
		s := newRacedServer(t)
		s.Run(fleetConfig(cluster.Endpoints(), lines...))
		fleet = append(fleet, s)
	}
	for _, s := range fleet {
		s.AwaitReady()
	}
	return fleet
}

// status returns the status of a request with a token, as a client of the gateway sees it.
func (s *server) status(t *testing.T, token string) int {
	t.Helper()
	return s.get(t, token).StatusCode
}

// get returns the answer to a request with a token, without its body.
func (s *server) get(t *testing.T, token string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.Plain+"/public/v1/contacts", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response
}

// TestFleet: whatever a gateway of a fleet is asked for is so on all of them.
func TestFleet(t *testing.T) {
	t.Parallel()
	fleet := startFleet(t, 3, etcdtest.Start(t, 3))
	a, b, c := fleet[0], fleet[1], fleet[2]
	key, token := a.Create("acme", "Warehouse sync", "full_access")
	for _, s := range fleet {
		s.Await("the new key", func() bool { return s.status(t, token) == 200 })
	}

	revoked, err := b.Keys().RevokeKey(t.Context(), "acme", key.ID, "Left the company")
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range fleet {
		if got := s.status(t, token); got != 401 {
			t.Errorf("gateway %d: got status %d after the revocation, want 401", i, got)
		}
	}
	if p := revoked.Propagation; p.State != client.Confirmed || p.Gateways != 3 || p.Revision == 0 {
		t.Errorf("got the propagation %+v, want it confirmed by 3 gateways", p)
	}

	// Refusals are right, wherever the name was given.
	_, _ = b.Create("acme", "Reports", "read_only")
	_, err = c.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Reports", Preset: "read_only"})
	if got := codeOf(err); got != "name_taken" {
		t.Errorf("got %v for a name that another gateway has given, want name_taken", err)
	}

	suspended, err := c.Keys().Suspend(t.Context(), "acme", "unpaid")
	if err != nil || suspended.Propagation.State != client.Confirmed {
		t.Errorf("got %+v, %v, want a confirmed suspension", suspended, err)
	}
	ws, err := a.Keys().ShowWorkspace(t.Context(), "acme")
	if err != nil || !ws.Suspended || ws.Keys.Active != 1 || ws.Keys.Revoked != 1 {
		t.Errorf("got %+v, %v, want a suspended workspace with an active and a revoked key", ws, err)
	}

	// Each gateway has allowed the key once, and refused it once.
	for _, s := range fleet {
		s.Await("the requests on all gateways to be counted", func() bool {
			var reads, refused uint64
			usage, err := s.Keys().ShowUsage(t.Context(), "acme", key.ID, 2)
			for _, day := range usage {
				reads, refused = reads+day.Reads, refused+day.Refused
			}
			return err == nil && reads == 3 && refused == 3
		})
	}
}

// TestFleet_paused: a gateway that is stopped is not waited for longer than its lease, and
// accepts nothing that was revoked when it resumes.
func TestFleet_paused(t *testing.T) {
	t.Parallel()
	fleet := startFleet(t, 2, etcdtest.Start(t, 3), briefLease)
	key, token := fleet[0].Create("acme", "Warehouse sync", "full_access")
	fleet[1].Await("the new key", func() bool { return fleet[1].status(t, token) == 200 })

	if err := fleet[1].Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	revoked, err := fleet[0].Keys().RevokeKey(t.Context(), "acme", key.ID, "")
	took := time.Since(began)
	if err := fleet[1].Cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err != nil || revoked.Propagation.State != client.Confirmed {
		t.Fatalf("got %+v, %v, want a confirmed revocation", revoked, err)
	}
	if least := 3750 * time.Millisecond; took < least { // a lease and a quarter
		t.Errorf("the revocation was confirmed after %v, want no less than %v", took, least)
	}
	if got := fleet[1].status(t, token); got != 401 && got != 503 {
		t.Errorf("got status %d right after the pause, want 401 or 503", got)
	}
	fleet[1].Await("the revocation", func() bool { return fleet[1].status(t, token) == 401 })
}

// TestFleet_withoutEtcd: gateways refuse all requests once their leases have ended, and
// serve again when etcd does.
func TestFleet_withoutEtcd(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	s := startFleet(t, 1, cluster, briefLease)[0]
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	cluster.Member(0).Kill()
	s.Await("the lease to end", func() bool { return s.status(t, token) == 503 })
	if s.Healthy() {
		t.Error("healthz answers 200 without a lease, want 503")
	}
	_, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Reports", Preset: "read_only"})
	if got := codeOf(err); got != "store_unavailable" {
		t.Errorf("got %v for a change without etcd, want store_unavailable", err)
	}
	for command, want := range map[string]string{
		"doctor":          "\nerror    fleet        This gateway refuses all requests, because it has no lease of its fleet: ",
		"fleet status":    "\nProblem   ",
		"fleet reconcile": "This gateway has another problem: ",
	} {
		out, err := s.run(append(strings.Fields(command), "--address", s.Admin, "-o", "table")...)
		if !strings.Contains(out, want) || strings.Contains(out, "Changes can be made") {
			t.Errorf("%s without etcd: got %v, want %q in\n%s", command, err, want, out)
		}
	}
	cluster.Member(0).Start()
	s.Await("the gateway to serve again", func() bool { return s.status(t, token) == 200 })
}

// TestFleet_reload: a reload adopts other endpoints without refusing a request that the
// gateway has read, and refuses another kind of store at the same path.
func TestFleet_reload(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 3)
	s := startFleet(t, 1, cluster)[0]
	_, token := s.Create("acme", "Warehouse sync", "full_access")

	load := startLoadFrom(t, []gatewaytest.Client{s.closingClient()}, ask{http.MethodGet, token, []int{http.StatusOK}})
	if out, err := s.Reload(fleetConfig(cluster.Endpoints()[1:], "name other")); err != nil {
		t.Errorf("reloading with other endpoints: %v\n%s", err, out)
	}
	_, _ = s.Create("acme", "Reports", "read_only") // through the new connection
	load.stop()

	for _, test := range []struct{ name, config, want string }{
		{"another kind of store", httpOnly(gatewayConfig), "is open as the replica of a fleet"},
		{"another prefix", fleetConfig(cluster.Endpoints(), "prefix /other/"), "the prefix of a fleet cannot change"},
	} {
		if out, err := s.Reload(test.config); err == nil || !strings.Contains(out, test.want) {
			t.Errorf("%s: got %v, want an error that contains %q:\n%s", test.name, err, test.want, out)
		}
	}
	if got := s.status(t, token); got != 200 {
		t.Errorf("got status %d after refused reloads, want 200", got)
	}
	s.Stop()
	load.wantAnswered(t, s)
}

// TestFleet_backup: a backup of one gateway is restored by another into another fleet.
func TestFleet_backup(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	from := startFleet(t, 1, cluster)[0]
	key, token := from.Create("acme", "Warehouse sync", "full_access")
	for i := range 60 { // more than one transaction of etcd
		from.Create(fmt.Sprintf("ws%d", i), "Reports", "read_only")
	}
	backup, err := from.Keys().Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer backup.Close()
	var others []*server
	for range 2 {
		s := newRacedServer(t)
		s.Run(fleetConfig(cluster.Endpoints(), "prefix /other/"))
		s.AwaitReady()
		others = append(others, s)
	}
	restored, err := others[0].Keys().Restore(t.Context(), backup, client.RestoreOptions{})
	if err != nil || restored.Restored.Keys != 61 {
		t.Fatalf("got %+v, %v, want 61 restored keys", restored, err)
	}
	others[1].Await("the restored key", func() bool { return others[1].status(t, token) == 200 })
	if _, err := others[1].Keys().RevokeKey(t.Context(), "acme", key.ID, ""); err != nil {
		t.Error(err)
	}
	if got := others[0].status(t, token); got != 401 {
		t.Errorf("got status %d after the revocation, want 401", got)
	}
	if got := from.status(t, token); got != 200 {
		t.Errorf("got status %d from the other fleet, want 200", got)
	}
}

// TestFleet_lastUses: a gateway that stops tells the others when keys were last used.
func TestFleet_lastUses(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	leaving := startFleet(t, 1, cluster)[0]
	key, token := leaving.Create("acme", "Warehouse sync", "full_access")
	if got := leaving.status(t, token); got != 200 {
		t.Fatalf("got status %d, want 200", got)
	}
	leaving.Stop()
	staying := startFleet(t, 1, cluster)[0]
	staying.Await("the last use", func() bool {
		shown, err := staying.Keys().ShowKey(t.Context(), "acme", key.ID)
		return err == nil && shown.LastUsedAt != nil
	})
}
