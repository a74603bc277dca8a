package test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var (
	kills    = flag.Int("kills", 24, "under how many loads TestKill kills the server")
	killSeed = flag.Uint64("kill-seed", 0, "what TestKill draws its changes and instants from; any number if 0")
)

const (
	killClients = 6
	// aWhile is how many rounds a workspace goes through. Then it is left as it
	// is, to be looked at once more in the end, and its client turns to a new one:
	// so each round has about as much to check.
	aWhile = 6
)

// killConfig logs no requests: there are many.
var killConfig = httpOnly(strings.NewReplacer("\tdebug\n", "", "\tlog\n", "").Replace(gatewayConfig))

// TestKill kills the server again and again, at any instant: while clients
// change keys in every way that there is and use them, and while it starts. It
// holds that each change that was acknowledged is there then, that one which was
// not is there as a whole or not at all, that lists, counts, names and tokens
// agree with the audit trail, and that no token of a revoked key passes.
//
// The rounds are few, for every day; make kill has 300 of them.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("the seed is %d", seed)
	o := newCrashTest(t, seed)
	for round := range *kills {
		if round%aWhile == 0 {
			o.turn(round / aWhile)
		}
		o.kill(o.drawKillPoint(round))
		o.restart()
		o.check(false)
		if t.Failed() {
			t.Fatalf("in round %d of the seed %d", round, seed)
		}
	}
	o.atWork = o.tenants
	o.check(true)
	t.Logf("%d kills under load, %d of a start; %d changes were acknowledged, %d were in doubt, of which %d had been made; %d keys",
		*kills, o.starts, o.acknowledged, o.doubtful, o.made, o.keyCount())
}

// crashTest is a server that is killed again and again, and its clients.
type crashTest struct {
	*server
	chance    *rand.Rand
	tenants   []*tenant // all there ever were
	atWork    []*tenant
	lastEvent string // the newest of the whole audit trail, as it was read last

	ready time.Duration // how long it took the server to start the last time
	// dying says that the server is about to be killed: who asks for something
	// need not be answered any more.
	dying atomic.Bool
	next  atomic.Pointer[killPoint]

	starts, acknowledged, doubtful, made int
}

func newCrashTest(t *testing.T, seed uint64) *crashTest {
	o := &crashTest{server: newServer(t), chance: rand.New(rand.NewPCG(seed, 0))}
	o.next.Store(new(killPoint))
	o.begin()
	return o
}

// turn gives each client a workspace that is new.
func (o *crashTest) turn(turn int) {
	o.atWork = nil
	for i := range killClients {
		w := newTenant(o.server, fmt.Sprintf("turn-%d-%d", turn, i), rand.New(rand.NewPCG(o.chance.Uint64(), 0)))
		w.api.HTTP.Transport = watched{w.api.HTTP.Transport, o}
		o.atWork = append(o.atWork, w)
	}
	o.tenants = append(o.tenants, o.atWork...)
}
