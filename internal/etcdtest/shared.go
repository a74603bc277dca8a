package etcdtest

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
)

// shared are the clusters that Shared returns, by their number of members, once a test has
// asked for one.
var shared struct {
	mu       sync.Mutex
	clusters map[int]*Cluster
	asked    int // how often
	life     life
}

// Shared returns a cluster that the tests of this process share, which saves the time that
// a start takes. A test must not stop, compact or restore it, and keeps what it writes below
// Cluster.Prefix, which is its own. TestMain ends it, with EndShared.
func Shared(t testing.TB, members int) *Cluster {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.clusters[members] == nil {
		shared.life.TB = t
		if shared.clusters == nil {
			shared.clusters = make(map[int]*Cluster)
		}
		shared.clusters[members] = Start(&shared.life, members)
	}
	shared.asked++ // a test may run again
	c := *shared.clusters[members]
	c.t, c.Prefix, c.members = t, fmt.Sprintf("/%s/%d/", t.Name(), shared.asked), nil
	for _, m := range shared.clusters[members].members {
		c.members = append(c.members, &Member{c: &c, name: m.name, client: m.client, peer: m.peer, process: m.process, exited: m.exited})
	}
	return &c
}

// EndShared ends the clusters that tests have shared.
func EndShared() { shared.life.end() }

// life is that of all tests of a process. It has the methods of the one that asked last for
// a cluster to be started.
type life struct {
	testing.TB
	cleanups []func()
}

func (l *life) Cleanup(do func()) { l.cleanups = append(l.cleanups, do) }

// Failed reports no failure: that of one test says nothing about what all share.
func (l *life) Failed() bool { return false }

func (l *life) TempDir() string {
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (l *life) end() {
	for _, do := range slices.Backward(l.cleanups) {
		do()
	}
}
