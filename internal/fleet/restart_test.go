package fleet

import (
	"reflect"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// A gateway that was away resumes where it was, or is refilled if etcd no longer has what
// it missed.
func TestFleet_wasAway(t *testing.T) {
	t.Parallel()
	for name, compacted := range map[string]bool{"resumes": false, "is refilled": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, 1)
			for how, leave := range map[string]struct{ leave, comeBack func(*proxied) }{
				"restarted": {func(g *proxied) { g.close() }, func(g *proxied) { g.open(t) }},
				"crashed":   {(*proxied).crash, func(g *proxied) { g.open(t) }},
				"cut off": {
					func(g *proxied) { g.each((*etcdtest.Proxy).Drop); g.awaitNotLive(t) },
					func(g *proxied) { g.each((*etcdtest.Proxy).Pass) },
				},
			} {
				cluster.Prefix = "/" + how + "/"
				all := startProxied(t, cluster, 2, brief)
				kept, lost := issue("acme", "kept"), issue("acme", "lost")
				all[0].apply(t, kept.Create)
				all[0].apply(t, lost.Create)
				all[1].awaitPosition(t, all[0].gateway)

				leave.leave(all[1])
				all[0].apply(t, revoke(lost))
				all[0].apply(t, newKey("acme", "missed"))
				if compacted {
					cluster.Compact()
				}
				leave.comeBack(all[1])
				all[1].awaitLive(t)
				if !all[1].allows(t, kept) || all[1].allows(t, lost) {
					t.Errorf("%s: got %t and %t for a key and a revoked one", how, all[1].allows(t, kept), all[1].allows(t, lost))
				}
				if got, want := all[1].records(t), all[0].records(t); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: the gateway has other records than the one that stayed: got %d, want %d", how, len(got), len(want))
				}
			}
		})
	}
}

// crash ends the gateway without a word to etcd.
func (g *proxied) crash() {
	g.each((*etcdtest.Proxy).Drop)
	g.close()
	g.each((*etcdtest.Proxy).Pass)
}
