package fleet

import (
	"fmt"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// proxied is a gateway that reaches each member of etcd through a proxy of its own.
type proxied struct {
	*gateway
	proxies []*etcdtest.Proxy // by member
	dir     string
	name    string
	options Options
}

// startProxied starts gateways behind proxies, and waits until they serve.
func startProxied(t *testing.T, cluster *etcdtest.Cluster, n int, set ...func(*Options)) (all []*proxied) {
	t.Helper()
	for i := range n {
		all = append(all, openProxied(t, cluster, fmt.Sprintf("gw%d", i), set...))
	}
	for _, g := range all {
		g.awaitLive(t)
	}
	return all
}

func openProxied(t *testing.T, cluster *etcdtest.Cluster, name string, set ...func(*Options)) *proxied {
	t.Helper()
	g := newProxied(t, cluster, name, set...)
	g.open(t)
	return g
}

// newProxied prepares a gateway without opening it. set changes its options.
func newProxied(t *testing.T, cluster *etcdtest.Cluster, name string, set ...func(*Options)) *proxied {
	t.Helper()
	g := &proxied{name: name, dir: t.TempDir(), options: defaults(cluster)}
	g.options.Endpoints = nil
	for i := range cluster.Endpoints() {
		p := etcdtest.NewProxy(t, cluster.Member(i).Address())
		g.proxies = append(g.proxies, p)
		g.options.Endpoints = append(g.options.Endpoints, "http://"+p.Addr())
	}
	for _, set := range set {
		set(&g.options)
	}
	return g
}

// dial connects to etcd as the gateway does.
func (g *proxied) dial(t *testing.T) *etcd {
	t.Helper()
	e, err := dial(&g.options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

// open opens the gateway, with the replica that it has.
func (g *proxied) open(t *testing.T) {
	t.Helper()
	g.gateway = openIn(t, g.dir, g.name, g.options)
}

func (g *proxied) each(do func(*etcdtest.Proxy)) {
	for _, p := range g.proxies {
		do(p)
	}
}
