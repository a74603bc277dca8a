package fleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// TestFleet_linearizable: while gateways and members fail, changes of all gateways are as
// if made one after the other, each between its call and its answer; and each gateway
// judges keys as if it took over each change at one moment before a confirmation.
func TestFleet_linearizable(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 3)
	h := &histories{t: t, began: time.Now(), gateways: startProxied(t, cluster, 3, brief)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var callers, breakers sync.WaitGroup
	for ws := range 16 {
		for range 6 {
			callers.Go(func() { h.call(ctx, fmt.Sprintf("ws%d", ws)) })
		}
	}
	breakers.Go(func() { h.cutOff(ctx) })
	for began := time.Now(); time.Since(began) < 8*time.Second || h.few() && time.Since(began) < longEnough; {
		m := cluster.Member(rand.N(3))
		m.Pause()
		_ = pause(ctx, rand.N(2*time.Second))
		m.Resume()
		_ = pause(ctx, rand.N(time.Second))
	}
	stop()
	callers.Wait()
	breakers.Wait()

	t.Logf("%d changes (%d of unknown outcome), %d checks", len(h.changes), h.unknown, len(h.checks))
	if h.few() {
		t.Error("the test has tested hardly anything")
	}
	h.verify("the changes", namesModel, h.changes)
	h.verify("the checks", checksModel, h.checks)
}

// histories are what callers have seen. All workspaces have keys of one name only.
type histories struct {
	t        *testing.T
	began    time.Time
	gateways []*proxied

	mu      sync.Mutex
	changes []porcupine.Operation // of changeOf and answer
	checks  []porcupine.Operation // of checkOf and answer
	unknown int                   // how many of the changes may have been made or not
}

// answer is what a caller was told.
type answer string

const (
	done    answer = "done"
	taken   answer = "the name is taken"
	absent  answer = "there is no such key"
	unknown answer = "it is unknown whether it was done"
	allowed answer = "allowed"
	refused answer = "refused"
)

// changeOf is a change that a caller asked for.
type changeOf struct {
	workspace, key string
	revoke         bool // or else it is created
}

// checkOf is something that concerns one key on one gateway: a change to it, or a check.
type checkOf struct {
	gateway     int
	key         string
	change, end bool
}

// few reports whether too little has happened for the test to mean anything.
func (h *histories) few() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.changes) < 100 || len(h.checks) < 100
}

func (h *histories) now() int64 { return time.Since(h.began).Nanoseconds() }

// call changes the keys of a workspace and uses them, through any gateway.
func (h *histories) call(ctx context.Context, ws string) {
	for ctx.Err() == nil {
		k := issue(ws, "key")
		if h.create(ctx, k) {
			for range rand.N(6) {
				h.check(k)
				_ = pause(ctx, rand.N(20*time.Millisecond))
			}
			h.revoke(ctx, k)
			for range rand.N(6) {
				h.check(k)
				_ = pause(ctx, rand.N(20*time.Millisecond))
			}
		}
		_ = pause(ctx, rand.N(50*time.Millisecond))
	}
}

// create asks for a key, and reports whether it may have been created.
func (h *histories) create(ctx context.Context, k issued) bool {
	g, call := rand.N(len(h.gateways)), h.now()
	got, confirmed := h.change(ctx, g, k.Create)
	h.record(call, changeOf{workspace: k.Key.WorkspaceID, key: k.Key.ID}, got)
	if got == done || got == unknown {
		h.recordChecks(call, g, k, false, got, confirmed)
	}
	return got == done || got == unknown
}

func (h *histories) revoke(ctx context.Context, k issued) {
	g, call := rand.N(len(h.gateways)), h.now()
	got, confirmed := h.change(ctx, g, revoke(k))
	h.record(call, changeOf{workspace: k.Key.WorkspaceID, key: k.Key.ID, revoke: true}, got)
	if got == done || got == unknown {
		h.recordChecks(call, g, k, true, got, confirmed)
	}
}

// answerWithin is how long a caller waits for an answer: longer than a lease and a quarter.
const answerWithin = 6 * time.Second

// change makes a change, and returns whether it is confirmed by all gateways, too.
func (h *histories) change(ctx context.Context, gateway int, do apikey.Action) (got answer, confirmed bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	outcome, err := h.gateways[gateway].try(ctx, do)
	switch {
	case err == nil:
		return done, outcome.Propagation.Confirmed
	case errors.Is(err, apikey.ErrNameTaken):
		return taken, false
	case errors.Is(err, apikey.ErrNotFound):
		return absent, false
	}
	return unknown, false
}

// record adds a change that has just been answered.
func (h *histories) record(call int64, change changeOf, got answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if got == unknown {
		h.unknown++
	}
	h.changes = append(h.changes, porcupine.Operation{Input: change, Call: call, Output: got, Return: h.returned(got != unknown)})
}

// returned is when something must have happened: now, or any time later.
func (h *histories) returned(happened bool) int64 {
	if happened {
		return h.now()
	}
	return math.MaxInt64
}

// recordChecks adds a change of a key for each gateway. The one that was asked has taken
// it over when it answers, and all have that serve when an end is confirmed. Others take
// a new key over at any time.
func (h *histories) recordChecks(call int64, asked int, k issued, end bool, got answer, confirmed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for g := range h.gateways {
		happened := got == done && (g == asked || end && confirmed)
		h.checks = append(h.checks, porcupine.Operation{
			Input: checkOf{gateway: g, key: k.Key.ID, change: true, end: end}, Call: call, Output: got, Return: h.returned(happened),
		})
	}
}

// check uses a key on any gateway.
func (h *histories) check(k issued) {
	g, call := rand.N(len(h.gateways)), h.now()
	decision := h.gateways[g].authn.Check(h.t.Context(), new(authn.Policy), &authn.Facts{
		Method: "POST", Path: "/", Authorization: []string{"Bearer " + k.token.Reveal()},
	})
	got := refused
	switch decision.Result {
	case authn.Allowed:
		got = allowed
	case authn.Unavailable: // which says nothing about the key
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, porcupine.Operation{Input: checkOf{gateway: g, key: k.Key.ID}, Call: call, Output: got, Return: h.now()})
}

// cutOff cuts gateways off from etcd, one at a time.
func (h *histories) cutOff(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		g := h.gateways[n%len(h.gateways)]
		if n%2 == 0 {
			g.each((*etcdtest.Proxy).Drop)
		} else {
			g.each(func(p *etcdtest.Proxy) { p.Stall() })
		}
		_ = pause(ctx, rand.N(3*time.Second))
		g.each((*etcdtest.Proxy).Pass)
		_ = pause(ctx, rand.N(time.Second))
	}
}

// verify checks a history, and prints the parts that are not possible.
func (h *histories) verify(what string, model porcupine.Model, history []porcupine.Operation) {
	h.t.Helper()
	for _, part := range model.Partition(history) {
		switch porcupine.CheckOperationsTimeout(model, part, time.Minute) {
		case porcupine.Unknown:
			h.t.Errorf("%s of %v: their order was not found within a minute", what, part[0].Input)
		case porcupine.Illegal:
			slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
			var text strings.Builder
			for _, o := range part {
				fmt.Fprintf(&text, "\n%12d to %12d: %+v: %s", o.Call, o.Return, o.Input, o.Output)
			}
			h.t.Errorf("%s are not possible in any order:%s", what, text.String())
		}
	}
}

// named is the state of a workspace: the active key, "" if there is none, and those that
// were revoked, each with a comma.
type named struct{ active, revoked string }

// namesModel is a store in which at most one key of a workspace is active.
var namesModel = porcupine.Model{
	Partition: partition(func(input any) any { return input.(changeOf).workspace }),
	Init:      func() any { return named{} },
	Step: func(state, input, output any) (bool, any) {
		before, change, got := state.(named), input.(changeOf), output.(answer)
		after, want := before, done
		switch {
		case !change.revoke && before.active != "":
			want = taken
		case !change.revoke:
			after.active = change.key
		case before.active == change.key:
			after = named{revoked: before.revoked + change.key + ","}
		case !strings.Contains(before.revoked, change.key):
			want = absent
		}
		if got == unknown { // it may have been done, at any time
			return true, after
		}
		return got == want, after
	},
}

// checksModel is one key on one gateway: unknown, then active, then ended.
var checksModel = porcupine.Model{
	Partition: partition(func(input any) any {
		of := input.(checkOf)
		return [2]any{of.gateway, of.key}
	}),
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		const active, ended = 1, 2
		stage, of := state.(int), input.(checkOf)
		switch {
		case of.change && of.end:
			return true, ended
		case of.change:
			return true, max(stage, active)
		}
		return (output.(answer) == allowed) == (stage == active), stage
	},
}

func partition(by func(input any) any) func([]porcupine.Operation) [][]porcupine.Operation {
	return func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := make(map[any]int)
		for _, o := range history {
			of := by(o.Input)
			i, known := at[of]
			if !known {
				i = len(parts)
				at[of], parts = i, append(parts, nil)
			}
			parts[i] = append(parts[i], o)
		}
		return parts
	}
}
