package fleet

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

var faultsFor = flag.Duration("faults", 10*time.Second, "for how long TestFleet_promise causes faults")

// What is confirmed as taken away is never allowed again, on any gateway, whatever
// happens to gateways and to etcd in the meantime.
func TestFleet_promise(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 3)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p := &promise{t: t, gateways: startProxied(t, cluster, 4, brief)}
	breaking, stopBreaking := context.WithCancel(ctx)
	p.broken = stopBreaking
	var testers, changers, breakers sync.WaitGroup
	breakers.Go(func() {
		defer stopBreaking()
		_ = pause(breaking, *faultsFor)
		for began := time.Now(); p.confirmed.Load() < minConfirmed && time.Since(began) < 2*longEnough && pause(breaking, time.Second) == nil; {
		}
	})
	for _, g := range p.gateways {
		for range 6 {
			testers.Go(func() { p.test(ctx, g) })
		}
	}
	changing, stopChanging := context.WithCancel(ctx)
	for i := range 64 {
		changers.Go(func() { p.change(changing, i) })
	}

	breakers.Go(func() { p.cutOff(breaking) })
	breakers.Go(func() { p.slowDown(breaking) })
	p.breakEtcd(breaking, cluster)
	breakers.Wait()
	stopChanging()
	changers.Wait()
	stop()
	testers.Wait()

	p.report()
	p.checkAgreement()
}

// minConfirmed is how often something is confirmed as taken away at least, before the faults
// end. On a busy machine that takes longer.
const minConfirmed = 10

// promise is a test of what a fleet promises.
type promise struct {
	t        *testing.T
	gateways []*proxied

	broken context.CancelFunc // ends the faults

	mu      sync.Mutex
	targets []*target // the latest ones

	faults, confirmed, unconfirmed, failed, allowed, refused atomic.Int64
}

// target is a key that is used on all gateways, and then taken away.
type target struct {
	issued
	took string
	// confirmed is when that was confirmed, zero if it is not.
	confirmed atomic.Pointer[time.Time]
}

// maxTargets is how many keys are used at a time, most of which have been taken away.
const maxTargets = 200

// change creates keys and takes them away again, through any gateway.
func (p *promise) change(ctx context.Context, changer int) {
	for i := 0; ctx.Err() == nil; i++ {
		k := &target{issued: issue(fmt.Sprintf("ws%d-%d", changer, i), "key")}
		if !p.do(ctx, k.Create) {
			continue
		}
		p.add(k)
		_ = pause(ctx, rand.N(300*time.Millisecond)) // it is used and remembered
		var take apikey.Action
		switch rand.N(4) {
		case 0:
			take = apikey.Suspend{WorkspaceID: k.Key.WorkspaceID, Reason: "test"}
		case 1:
			take = apikey.RevokeAll{WorkspaceID: k.Key.WorkspaceID, Reason: "test"}
		default:
			take = revoke(k.issued)
		}
		k.took = fmt.Sprintf("%T", take)
		if p.do(ctx, take) {
			now := time.Now()
			k.confirmed.Store(&now)
		}
	}
}

// do makes a change, and reports whether it is confirmed.
func (p *promise) do(ctx context.Context, do apikey.Action) bool {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	outcome, err := p.gateways[rand.N(len(p.gateways))].try(ctx, do)
	switch {
	case err != nil:
		p.failed.Add(1)
		return false
	case !outcome.Propagation.Confirmed:
		p.unconfirmed.Add(1)
		return false
	case waitsForOthers(do):
		p.confirmed.Add(1)
	}
	return true
}

func (p *promise) add(k *target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets = append(p.targets, k)
	if len(p.targets) > maxTargets {
		p.targets = p.targets[1:]
	}
}

func (p *promise) any() *target {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.targets) == 0 {
		return nil
	}
	return p.targets[rand.N(len(p.targets))]
}

// test uses keys on a gateway.
func (p *promise) test(ctx context.Context, g *proxied) {
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		k := p.any()
		if k == nil {
			continue
		}
		started := time.Now()
		if !g.allows(p.t, k.issued) {
			p.refused.Add(1)
			continue
		}
		p.allowed.Add(1)
		if at := k.confirmed.Load(); at != nil && started.After(*at) {
			p.t.Errorf("%s allowed a request that began %s after %s of its key had been confirmed", g.name, started.Sub(*at), k.took)
			p.broken()
		}
	}
}

// cutOff cuts gateways off from etcd, one or two at a time.
func (p *promise) cutOff(ctx context.Context) {
	cuts := []func(*etcdtest.Proxy){
		func(p *etcdtest.Proxy) { p.Stall() },
		func(p *etcdtest.Proxy) { p.Stall(etcdtest.Requests) },
		func(p *etcdtest.Proxy) { p.Stall(etcdtest.Answers) },
		(*etcdtest.Proxy).Drop,
	}
	var cutting sync.WaitGroup
	for n := 0; ctx.Err() == nil; n++ {
		g, cut := p.gateways[n%2], cuts[n%len(cuts)]
		cutting.Wait()
		cutting.Go(func() {
			p.faults.Add(1)
			g.each(cut)
			_ = pause(ctx, 3*time.Second+rand.N(4*time.Second))
			g.each((*etcdtest.Proxy).Pass)
			_ = pause(ctx, rand.N(time.Second))
		})
		other := p.gateways[2+rand.N(2)] // loses one member, for a moment
		one := other.proxies[rand.N(len(other.proxies))]
		p.faults.Add(1)
		cuts[rand.N(len(cuts))](one)
		_ = pause(ctx, time.Second+rand.N(2*time.Second))
		one.Pass()
	}
	cutting.Wait()
}

// slowDown makes the disks of gateways slow, one at a time.
func (p *promise) slowDown(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		g := p.gateways[(n+2)%len(p.gateways)]
		p.faults.Add(1)
		g.disk.reads.Store(int64(300 * time.Millisecond))
		g.disk.writes.Store(int64([]time.Duration{100 * time.Millisecond, 2500 * time.Millisecond}[n%2]))
		_ = pause(ctx, 2*time.Second+rand.N(3*time.Second))
		g.disk.reads.Store(0)
		g.disk.writes.Store(0)
	}
}

// breakEtcd has members of etcd fail, one at a time, and etcd forget the changes that a
// gateway may lack.
func (p *promise) breakEtcd(ctx context.Context, cluster *etcdtest.Cluster) {
	for n := 0; ctx.Err() == nil; n++ {
		m := cluster.Member(rand.N(3))
		p.faults.Add(1)
		switch n % 4 {
		case 0:
			m.Kill()
			_ = pause(ctx, rand.N(3*time.Second))
			m.Start()
		case 1:
			m.Replace()
		case 2:
			m = cluster.Member(cluster.Leader())
			fallthrough
		default:
			m.Pause()
			_ = pause(ctx, time.Second+rand.N(3*time.Second))
			m.Resume()
		}
		cluster.AwaitHealthy()
		if n%2 == 0 {
			p.faults.Add(1)
			cluster.Compact()
		}
		_ = pause(ctx, rand.N(time.Second))
	}
}

func (p *promise) report() {
	p.t.Logf("%d faults; %d changes were confirmed, %d were not, %d failed; %d requests were allowed, %d refused",
		p.faults.Load(), p.confirmed.Load(), p.unconfirmed.Load(), p.failed.Load(), p.allowed.Load(), p.refused.Load())
	if p.confirmed.Load() < minConfirmed || p.allowed.Load() == 0 || p.refused.Load() == 0 {
		p.t.Error("the test has tested nothing")
	}
}

// checkAgreement checks that all gateways come back, and have the same records. A change that
// its caller has given up may still be made meanwhile.
func (p *promise) checkAgreement() {
	for _, g := range p.gateways {
		g.awaitLive(p.t)
	}
	first := p.gateways[0]
	first.apply(p.t, newKey("last", "key"))
	gatewaytest.Await(p.t, "all gateways to have the same records", func() bool {
		want := first.records(p.t)
		return !slices.ContainsFunc(p.gateways, func(g *proxied) bool { return !maps.Equal(g.records(p.t), want) })
	})
	first.checkRecords(p.t)
}
