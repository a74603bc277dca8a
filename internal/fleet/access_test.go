package fleet

import (
	"context"
	"crypto/x509"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// awaitProblem waits until a gateway says why it does not serve.
func (g *gateway) awaitProblem(t *testing.T, want string) {
	t.Helper()
	gatewaytest.Await(t, "the problem: "+want, func() bool { return strings.Contains(g.Problem(), want) })
	if g.Live() {
		t.Errorf("the gateway serves in spite of: %s", g.Problem())
	}
}

func TestFleet_oldEtcd(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Old(t)
	openGateway(t, "gw", defaults(cluster)).awaitProblem(t, "runs etcd "+cluster.Member(0).Version())
}

// Members that take longer to say what they are than they are given at first are waited for.
func TestFleet_slowMembers(t *testing.T) {
	t.Parallel()
	g := newProxied(t, etcdtest.Shared(t, 1), "gw")
	g.each(func(p *etcdtest.Proxy) { p.Delay(attemptTimeout / 2) }) // and two answers are needed
	e, command := g.dial(t), g.dial(t)
	gatewaytest.Await(t, "the members to be checked", func() bool { return e.checkMembers(t.Context()) == nil })
	if err := command.awaitMembers(t.Context()); err != nil {
		t.Errorf("for a command: got error %v, want none", err)
	}
}

// What one cluster has and the other does not would look like what somebody has deleted.
func TestFleet_differentClusters(t *testing.T) {
	t.Parallel()
	o, other := defaults(etcdtest.Shared(t, 1)), etcdtest.Shared(t, 3)
	o.Endpoints = append(other.Endpoints(), o.Endpoints...)
	openGateway(t, "gw", o).awaitProblem(t, other.Endpoints()[0]+" and "+o.Endpoints[3]+" lead to different clusters of etcd")
}

// A user who may read and write what is below the prefix, and a client certificate, are
// all that a gateway needs.
func TestFleet_userAndTLS(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1, etcdtest.TLS(), etcdtest.Users(
		etcdtest.User{Name: "gw", Password: "secret", Prefix: "/api-keys/"},
		etcdtest.User{Name: "other", Password: "secret", Prefix: "/other/"},
	))
	o := defaults(cluster)
	o.TLS, o.Username, o.Password = cluster.ClientTLS(), "gw", "secret"
	all := startGateways(t, 2, o)
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	all[1].apply(t, revoke(k))
	if all[0].allows(t, k) {
		t.Error("a revoked key is allowed")
	}
	all[0].receive(t, hook)
	all[0].apply(t, newKey("acme", "Make"))
	_, resign := all[1].mustLead(t)
	defer resign()
	if err := all[1].Outbox().Done(t.Context(), all[1].pending(t, "acme")...); err != nil {
		t.Errorf("Done: got error %v, want none", err)
	}

	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"wrong password", func(o *Options) { o.Password = "wrong" }, "etcd refuses this gateway's username or password"},
		{"no user", func(o *Options) { o.Username, o.Password = "", "" }, "etcd refuses this gateway's user"},
		{"other prefix", func(o *Options) { o.Username = "other" }, "etcd refuses this gateway's user"},
		{"no certificate", func(o *Options) { o.TLS = o.TLS.Clone(); o.TLS.Certificates = nil }, "certificate required"},
		{"another authority", func(o *Options) { o.TLS = o.TLS.Clone(); o.TLS.RootCAs = x509.NewCertPool() }, "cannot connect: authentication handshake failed: tls: failed to verify certificate"},
		{"no TLS", func(o *Options) { o.TLS, o.Endpoints = nil, []string{"http://" + cluster.Member(0).Address()} }, "cannot connect: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := o
			tt.change(&o)
			g := openGateway(t, "gw", o)
			g.awaitProblem(t, tt.want)
			if got := strings.Contains(g.Problem(), "no member of etcd answers"); got == strings.Contains(tt.want, "etcd refuses") {
				t.Errorf("got %q, which says that none answers: %t", g.Problem(), got)
			}
		})
	}
}

func TestFleet_wrongIntegrityKey(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	right := startGateways(t, 1, defaults(cluster))[0]
	o := defaults(cluster)
	o.IntegrityKeys = []IntegrityKey{{2}}
	openGateway(t, "wrong", o).awaitProblem(t, "d/head is sealed with another integrity_key, whose id is 01d0fabd: if that is the former one, add it in second place")
	o.IntegrityKeys = nil
	openGateway(t, "none", o).awaitProblem(t, "d/head is sealed with another integrity_key")
	right.apply(t, newKey("acme", "Zapier"))
	if !right.Live() {
		t.Errorf("the gateway with the right key does not serve: %s", right.Problem())
	}
}

// The key is replaced gateway by gateway: first all accept the new one too, then they
// seal with it.
func TestFleet_integrityKeyReplaced(t *testing.T) {
	t.Parallel()
	o := defaults(etcdtest.Shared(t, 1))
	all := startGateways(t, 2, o)
	k := issue("acme", "Zapier")
	all[0].apply(t, k.Create)
	for _, keys := range [][]IntegrityKey{{{1}, {2}}, {{2}, {1}}} {
		for _, g := range all {
			adopted := *g.options.Load()
			adopted.IntegrityKeys = keys
			if err := g.Adopt(adopted); err != nil {
				t.Fatal(err)
			}
			g.awaitLive(t)
			own := issue("acme", "while the key is replaced")
			all[0].apply(t, own.Create)
			if got := all[1].apply(t, revoke(own)).Propagation; !got.Confirmed || all[0].allows(t, own) {
				t.Errorf("got the propagation %+v", got)
			}
			for _, other := range all {
				other.awaitPosition(t, all[1])
				if !other.allows(t, k) || !other.Live() {
					t.Errorf("%s allows a key: %t, and is live: %t", other.options.Load().Name, other.allows(t, k), other.Live())
				}
			}
		}
	}
}

// A gateway with a user starts without etcd, and serves once etcd is there.
func TestFleet_userBeforeEtcd(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1, etcdtest.Users(etcdtest.User{Name: "gw", Password: "secret", Prefix: "/api-keys/"}))
	cluster.Member(0).Kill()
	o := defaults(cluster)
	o.Username, o.Password = "gw", "secret"
	g := openGateway(t, "gw", o)
	g.awaitProblem(t, "no member of etcd answers")
	cluster.Member(0).Start()
	g.awaitLive(t)
	g.apply(t, newKey("acme", "Zapier"))
}

// Such a user is all that moving a store into a fleet and out of it needs, too.
func TestMove_userAndTLS(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1, etcdtest.TLS(), etcdtest.Users(etcdtest.User{Name: "gw", Password: "secret", Prefix: "/api-keys/"}))
	o, l := defaults(cluster), newLived(t)
	o.TLS, o.Username, o.Password = cluster.ClientTLS(), "gw", "secret"
	origin := toMove(t, l.path)
	if _, err := Import(t.Context(), o, origin, silent); err != nil {
		t.Fatal(err)
	}
	closeStore(t, origin)
	g := openIn(t, l.path, "gw", withKeys(o, secondKey, o.IntegrityKeys[0]))
	g.awaitLive(t)
	if got, want := g.rekey(t).Sealed, len(l.records)+1; got != want { // with the head
		t.Errorf("got %d values sealed again, want %d", got, want)
	}
	g.close()
	replica := toMove(t, l.path)
	if already, err := Detach(t.Context(), withKeys(o, secondKey), replica); already || err != nil {
		t.Errorf("got already %t, %v; want it to be detached", already, err)
	}
}

// A gateway that has only the new key, and whose replica is complete, serves. It says that
// records are still sealed with the former one.
func TestFleet_formerKeyMissing(t *testing.T) {
	t.Parallel()
	core, logged := observer.New(zap.WarnLevel)
	warnings := func() int {
		return logged.FilterMessage("this gateway could not fill a replica from etcd: it lacks an integrity_key of records there").Len()
	}
	o := withKeys(defaults(etcdtest.Shared(t, 1)), oldKey)
	o.Log = zap.New(core)
	g := startGateways(t, 1, o)[0]
	g.apply(t, newKey("acme", "Zapier"))
	g.adopt(t, withKeys(o, secondKey, oldKey))
	g.apply(t, newKey("acme", "Reports")) // whose head is sealed with the new key
	if g.warnOfFormerKey(t.Context(), g.connection()); warnings() != 0 {
		t.Errorf("with both keys: got %d warnings, want none", warnings())
	}
	g.adopt(t, withKeys(o, secondKey))
	gatewaytest.Await(t, "the warning", func() bool { return warnings() > 0 })
	g.awaitLive(t)
}

func TestWhyUnconnected(t *testing.T) {
	for message, want := range map[string]string{
		`latest balancer error: last connection error: connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.1:2379: connect: connection refused"`:                              "dial tcp: connect: connection refused",
		`latest balancer error: connection error: desc = "error reading server preface: read tcp 10.0.0.1:41234->10.0.0.2:2379: read: connection reset by peer"`:                                    "error reading server preface: read tcp: read: connection reset by peer",
		`latest balancer error: connection error: desc = "transport: authentication handshake failed: x509: \"etcd\" has expired: current time 2026-12-01T04:00:00Z is after 2026-12-01T03:00:00Z"`: `authentication handshake failed: x509: "etcd" has expired: it is after 2026-12-01T03:00:00Z`,
		"latest balancer error: produced zero addresses": "produced zero addresses",
		"context deadline exceeded":                      "",
	} {
		if got := whyUnconnected(message); got != want {
			t.Errorf("%s: got %q, want %q", message, got, want)
		}
	}
}

func TestIsTokenRefused(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{explain(rpctypes.ErrInvalidAuthToken), true},
		{explain(status.Error(codes.Unauthenticated, "etcdserver: invalid auth token")), true},
		{explain(rpctypes.ErrAuthFailed), false},
		{explain(context.DeadlineExceeded), false},
		{errFenced, false},
	} {
		if got := isTokenRefused(test.err); got != test.want {
			t.Errorf("%v: got %t, want %t", test.err, got, test.want)
		}
	}
}
