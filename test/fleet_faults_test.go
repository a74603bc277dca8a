package test

import (
	"context"
	"flag"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

var (
	faultsFor = flag.Duration("faults", time.Minute, "for how long TestFleet_faults causes faults, of which there are 20 at least")
	faultSeed = flag.Uint64("fault-seed", 0, "what TestFleet_faults draws its faults and changes from; any number if 0")
)

// TestFleet_faults breaks three gateways and three members of etcd, all of them processes
// of their own, in every way and one after the other, while clients make changes through
// any gateway and use the keys on all of them. It holds that
//
//   - no gateway accepts a request that starts after what it needs was confirmed as taken
//     away,
//   - no gateway says that something acknowledged is not there,
//   - all gateways come back, agree, and have all that was acknowledged.
func TestFleet_faults(t *testing.T) {
	t.Parallel()
	f := startFaulty(t)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for _, g := range f.gateways {
		for range usersEach {
			clients.Go(func() { f.use(ctx, g) })
		}
	}
	for i := range f.clients {
		clients.Go(func() { f.clients[i].work(ctx) })
	}
	f.breakThings()
	f.awaitServing()
	stop()
	clients.Wait()
	if t.Failed() {
		return
	}
	f.report()
	f.checkAgreement()
}

// faultyFleet is a fleet in which things go wrong, and its clients.
type faultyFleet struct {
	t        *testing.T
	seed     uint64
	chance   *rand.Rand // of the faults
	cluster  *etcdtest.Cluster
	gateways []*faultyGateway
	clients  []*faultClient

	mu    sync.Mutex
	inUse []*usedKey // the latest ones

	faults, confirmed, repeated, refused atomic.Int64
}

// faultyGateway is a gateway that reaches each member of etcd through a proxy of its own.
type faultyGateway struct {
	*server
	number   int
	config   string
	proxies  []*etcdtest.Proxy // by member
	requests *http.Client

	accepted atomic.Int64
}

// startFaulty starts the fleet, and prepares its clients.
func startFaulty(t *testing.T) *faultyFleet {
	f := &faultyFleet{t: t, seed: *faultSeed, cluster: etcdtest.Start(t, 3)}
	if f.seed == 0 {
		f.seed = rand.Uint64()
	}
	t.Logf("the seed is %d", f.seed)
	f.chance = rand.New(rand.NewPCG(f.seed, 0))
	for i := range 3 {
		g := newFaultyGateway(t, i, f.cluster)
		g.Run(g.config)
		f.gateways = append(f.gateways, g)
	}
	f.awaitServing()
	for i := range singly + 1 {
		f.clients = append(f.clients, newFaultClient(f, i))
	}
	return f
}

func newFaultyGateway(t *testing.T, number int, cluster *etcdtest.Cluster) *faultyGateway {
	g := &faultyGateway{server: newRacedServer(t), number: number}
	var endpoints []string
	for i := range cluster.Endpoints() {
		p := etcdtest.NewProxy(t, cluster.Member(i).Address())
		g.proxies = append(g.proxies, p)
		endpoints = append(endpoints, "http://"+p.Addr())
	}
	g.config = strings.NewReplacer(
		"api_keys {", "api_keys {\n\t\tmax_active_keys 1000",
		"reverse_proxy {{.Upstream}}", "respond ok", // nobody looks at what an upstream received
		"\tdebug\n", "", "\tlog\n", "", // there are many requests
	).Replace(fleetConfig(endpoints, briefLease))
	g.requests = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: usersEach}, Timeout: 20 * time.Second}
	t.Cleanup(g.requests.CloseIdleConnections)
	return g
}

// awaitServing waits until all gateways have a lease. It fails the test if one has ended.
func (f *faultyFleet) awaitServing() {
	f.t.Helper()
	for _, g := range f.gateways {
		g.AwaitReady()
	}
}

func (f *faultyFleet) report() {
	f.t.Logf("%d faults; %d times, something was confirmed as taken away, after %d tries that failed or were pending; %d requests were refused",
		f.faults.Load(), f.confirmed.Load(), f.repeated.Load(), f.refused.Load())
	if f.confirmed.Load() == 0 || f.refused.Load() == 0 {
		f.t.Error("nothing was taken away")
	}
	for _, g := range f.gateways {
		f.t.Logf("gateway %d has accepted %d requests", g.number, g.accepted.Load())
		if g.accepted.Load() == 0 {
			f.t.Errorf("gateway %d has accepted nothing", g.number)
		}
	}
}
