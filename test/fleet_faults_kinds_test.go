package test

import (
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

const (
	// minFaults is how many faults there are at least.
	minFaults = 20
	// longestFault is longer than the lease of a gateway, its exclusion, and its end.
	longestFault = 6 * time.Second
	// well is what etcd is if it has no fault.
	well = "is well"
)

// fault is something that goes wrong for a while.
type fault struct {
	what       string
	begin, end func()
}

// breakThings causes one fault of a gateway at a time, and mostly one of etcd.
func (f *faultyFleet) breakThings() {
	began := time.Now()
	gateways, etcd := deck{chance: f.chance}, deck{chance: f.chance}
	for (time.Since(began) < *faultsFor || f.faults.Load() < minFaults) && !f.t.Failed() {
		g := f.gateways[f.chance.IntN(len(f.gateways))]
		ofGateway, ofEtcd := gateways.deal(f.ofGateway(g)), etcd.deal(f.ofEtcd())
		lasts := time.Duration(1+f.chance.Int64N(int64(longestFault/time.Millisecond))) * time.Millisecond
		f.t.Logf("%6.1fs: for %s, gateway %d %s, and etcd %s", time.Since(began).Seconds(), lasts, g.number, ofGateway.what, ofEtcd.what)
		f.faults.Add(1)
		if ofEtcd.what != well {
			f.faults.Add(1)
		}
		ofGateway.begin()
		ofEtcd.begin()
		time.Sleep(lasts)
		ofEtcd.end()
		ofGateway.end()
		f.cluster.AwaitHealthy()
		if f.chance.IntN(2) == 0 { // or the next fault meets gateways that are not back yet
			f.awaitServing()
		}
	}
}

// deck deals faults, each of them once before any comes again.
type deck struct {
	chance *rand.Rand
	order  []int
}

func (d *deck) deal(all []fault) fault {
	if len(d.order) == 0 {
		d.order = d.chance.Perm(len(all))
	}
	next := all[d.order[0]]
	d.order = d.order[1:]
	return next
}

// ofGateway returns the faults that a gateway may have.
func (f *faultyFleet) ofGateway(g *faultyGateway) []fault {
	on := func(proxies []*etcdtest.Proxy, do func(*etcdtest.Proxy)) func() {
		return func() {
			for _, p := range proxies {
				do(p)
			}
		}
	}
	cut := func(what string, proxies []*etcdtest.Proxy, do func(*etcdtest.Proxy)) fault {
		return fault{what, on(proxies, do), on(proxies, (*etcdtest.Proxy).Pass)}
	}
	stall := func(directions ...etcdtest.Direction) func(*etcdtest.Proxy) {
		return func(p *etcdtest.Proxy) { p.Stall(directions...) }
	}
	one := f.chance.IntN(len(g.proxies))
	return []fault{
		{"is killed", g.kill, g.run},
		{"is stopped", g.Stop, g.run},
		{"is paused", func() { g.signal(syscall.SIGSTOP) }, func() { g.signal(syscall.SIGCONT) }},
		cut("loses its connections to etcd", g.proxies, (*etcdtest.Proxy).Drop),
		cut("can exchange nothing with etcd", g.proxies, stall()),
		cut("cannot ask etcd", g.proxies, stall(etcdtest.Requests)),
		cut("hears no answer of etcd", g.proxies, stall(etcdtest.Answers)),
		cut("hears no answer of one member", g.proxies[one:one+1], stall(etcdtest.Answers)),
	}
}

func (g *faultyGateway) signal(s syscall.Signal) {
	g.T.Helper()
	must(g.T, g.Cmd.Process.Signal(s))
}

func (g *faultyGateway) kill() {
	g.signal(syscall.SIGKILL)
	<-g.Exited
}

// run runs the gateway again.
func (g *faultyGateway) run() {
	g.Exited = make(chan struct{})
	g.Run(g.config)
}

// ofEtcd returns the faults that etcd may have.
func (f *faultyFleet) ofEtcd() []fault {
	c := f.cluster
	nothing := func() {}
	first, second := c.Member(f.chance.IntN(3)), f.chance.IntN(2)
	others := func() (two []*etcdtest.Member) {
		for i := range 3 {
			if m := c.Member(i); m != first {
				two = append(two, m)
			}
		}
		return two
	}()
	var leader *etcdtest.Member
	lead := func(do func(*etcdtest.Member)) func() {
		return func() {
			leader = c.Member(c.Leader())
			do(leader)
		}
	}
	none := fault{well, nothing, nothing} // so that changes are made while a gateway has its fault
	return []fault{
		none, none, none,
		{"has a member killed", first.Kill, first.Start},
		{"has its leader killed", lead((*etcdtest.Member).Kill), func() { leader.Start() }},
		{"has a member paused", first.Pause, first.Resume},
		{"has its leader paused", lead((*etcdtest.Member).Pause), func() { leader.Resume() }},
		{
			"has two members paused",
			func() { first.Pause(); others[second].Pause() },
			func() { first.Resume(); others[second].Resume() },
		},
		{
			"has all members killed",
			func() { first.Kill(); others[0].Kill(); others[1].Kill() },
			func() { first.Start(); others[0].Start(); others[1].Start() },
		},
		{"is compacted", nothing, func() { c.Compact() }}, // while a gateway lacks changes
		{"has a member replaced", first.Replace, nothing},
	}
}
