package test

import (
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// run runs a command of caddy api-keys on the server's machine, and returns what it
// printed.
func (s *server) run(args ...string) (string, error) {
	out, err := s.Command(append([]string{"api-keys"}, args...)...).CombinedOutput()
	return string(out), err
}

// wantRefusedStart runs a configuration with which the server must not start.
func (s *server) wantRefusedStart(t *testing.T, config, want string) {
	t.Helper()
	out, err := s.runRefused(s.Write("refused.Caddyfile", config))
	if err == nil || !strings.Contains(out, want) {
		t.Errorf("got %v, want it not to start: %s\n%s", err, want, out)
	}
}

// TestFleet_import: the store of a single gateway becomes a fleet, and its gateway the
// first one of that, with the configuration that moved it.
func TestFleet_import(t *testing.T) {
	t.Parallel()
	alone := httpOnly(gatewayConfig)
	s := startRaced(t, alone)
	key, token := s.Create("acme", "Warehouse sync", "full_access")
	lost, lostToken := s.Create("acme", "Reports", "read_only")
	s.Revoke(lost)
	config := fleetConfig(etcdtest.Start(t, 1).Endpoints())
	file := s.Write("fleet.Caddyfile", config)
	if out, err := s.run("fleet", "import", "--store", s.Store, "--config", file); err == nil || !strings.Contains(out, "it is locked by another process") {
		t.Errorf("while the gateway runs: got %v, %s; want a refusal", err, out)
	}
	s.wantCleanStop(t)

	out, err := s.run("fleet", "import", "--store", s.Store, "--config", file, "-o", "table")
	if err != nil || !strings.Contains(out, "Writing the records into etcd: 5 of 5\nMoved 2 keys and 3 events into the fleet below /api-keys/.\n") {
		t.Fatalf("got %v, %s; want 2 keys and 3 events moved", err, out)
	}
	if out, err := s.run("fleet", "import", "--store", s.Store, "--config", file); err != nil || !strings.Contains(out, `"already": true`) {
		t.Errorf("again: got %v, %s; want it to be done already", err, out)
	}
	s.wantRefusedStart(t, alone, "it is the replica of a fleet: write store etcd with prefix /api-keys/")

	s.restart(config)
	other := newRacedServer(t)
	other.Run(config)
	other.AwaitReady()
	for _, gateway := range []*server{s, other} {
		gateway.wantStatus(t, token, 200)
		gateway.wantStatus(t, lostToken, 401)
	}
	revoked, err := other.Keys().RevokeKey(t.Context(), "acme", key.ID, "")
	if err != nil || revoked.Propagation.State != client.Confirmed || revoked.Propagation.Gateways != 2 {
		t.Errorf("got %+v, %v; want a revocation confirmed by 2 gateways", revoked, err)
	}
	s.wantStatus(t, token, 401)
}

// TestFleet_detach: the replica of a gateway becomes a store of its own, and no gateway
// serves the fleet any more.
func TestFleet_detach(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	fleet := startFleet(t, 2, cluster)
	s, other := fleet[0], fleet[1]
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	lost, lostToken := other.Create("acme", "Reports", "read_only")
	other.Revoke(lost)
	config := fleetConfig(cluster.Endpoints())
	file := s.Write("fleet.Caddyfile", config)
	s.wantCleanStop(t)
	if out, err := s.run("fleet", "detach", "--store", s.Store, "--config", file); err == nil || !strings.Contains(out, "gateways are registered in the fleet: ") {
		t.Errorf("while the other gateway runs: got %v, %s; want a refusal", err, out)
	}
	other.wantCleanStop(t)

	out, err := s.run("fleet", "detach", "--store", s.Store, "--config", file, "-o", "table")
	if err != nil || !strings.Contains(out, "The fleet below /api-keys/ has ended") {
		t.Fatalf("got %v, %s; want the fleet to have ended", err, out)
	}
	if out, err := s.run("fleet", "detach", "--store", s.Store, "--config", file); err != nil || !strings.Contains(out, `"already": true`) {
		t.Errorf("again: got %v, %s; want it to be done already", err, out)
	}
	s.restart(httpOnly(gatewayConfig))
	s.wantStatus(t, token, 200)
	s.wantStatus(t, lostToken, 401)

	other.Exited = make(chan struct{})
	other.Run(config)
	other.Await("the other gateway to say why it does not serve", func() bool {
		log := other.Log.String()
		return strings.Contains(log, "this fleet has ended") && strings.Contains(log, "serving initial configuration")
	})
	other.wantStatus(t, token, 503)
}
