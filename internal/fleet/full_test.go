package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// setFull has etcd refuse to write, as when it has reached its quota, or ends that.
func (e *etcd) setFull(ctx context.Context, full bool) error {
	action := etcdserverpb.AlarmRequest_DEACTIVATE
	if full {
		action = etcdserverpb.AlarmRequest_ACTIVATE
	}
	status, err := e.client.Status(ctx, e.client.Endpoints()[0])
	if err != nil {
		return err
	}
	_, err = etcdserverpb.NewMaintenanceClient(e.client.ActiveConnection()).Alarm(ctx, &etcdserverpb.AlarmRequest{
		Action: action, MemberID: status.Header.MemberId, Alarm: etcdserverpb.AlarmType_NOSPACE,
	})
	return err
}

// revokeThen revokes a key, and does something else as soon as etcd has that.
func (g *gateway) revokeThen(t *testing.T, k issued, then func() error) apikey.Outcome {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	change := apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: "test", Do: revoke(k)}
	outcome, err := g.Commit(t.Context(), change, true, func(apikey.Planned) error { return then() })
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

// acknowledged reports whether etcd has this gateway's acknowledgement of all changes.
func (g *gateway) acknowledged(t *testing.T) bool {
	t.Helper()
	e, id := g.connection(), *g.id.Load()
	read, err := e.client.Get(t.Context(), e.name(gatewayPrefix+id))
	if err != nil || len(read.Kvs) != 1 {
		t.Fatalf("got %d registrations and error %v, want one", len(read.Kvs), err)
	}
	found, err := e.openRegistration(id, read.Kvs[0].Value, read.Kvs[0].ModRevision)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := g.progress.now()
	return found.Acknowledged >= at.LastEnd
}

// A gateway that cannot acknowledge a change because etcd is full goes on serving, and
// acknowledges it once there is space.
func TestFleet_fullBeforeAcknowledged(t *testing.T) {
	t.Parallel()
	g := startGateways(t, 1, defaults(etcdtest.Start(t, 1)))[0]
	e := g.connection()
	var revoked issued
	for n := 0; ; n++ {
		revoked = issue("acme", fmt.Sprint("key ", n))
		gatewaytest.Await(t, "space for a key", func() bool { return !g.Full() }) // it may be known of the last time
		g.apply(t, revoked.Create)
		g.revokeThen(t, revoked, func() error { return e.setFull(t.Context(), true) })
		if !g.acknowledged(t) {
			break
		}
		if err := e.setFull(t.Context(), false); err != nil { // it was too late
			t.Fatal(err)
		}
	}
	id := *g.id.Load()
	g.awaitRenewed(t)
	if g.acknowledged(t) {
		t.Fatal("etcd is not full")
	}
	if g.allows(t, revoked) {
		t.Error("the gateway allows the key whose revocation it has not acknowledged")
	}
	if err := e.setFull(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Await(t, "the acknowledgement", func() bool { return g.acknowledged(t) })
	if got := *g.id.Load(); got != id {
		t.Errorf("got another registration, %s, want still %s", got, id)
	}
}

// An acknowledgement that etcd has made, and did not answer, counts although etcd has no space
// for it any more. The gateway is not taken for one that was excluded.
func TestMembership_fullAfterwards(t *testing.T) {
	t.Parallel()
	o := defaults(etcdtest.Start(t, 1))
	space := connect(t, o)
	lose := false
	e := intercepted(t, o, func(ctx context.Context, txn *etcdserverpb.TxnRequest, invoke func() error) error {
		err := invoke()
		if err != nil || !lose || len(txn.Compare) == 0 {
			return err
		}
		lose = false
		if err := space.setFull(ctx, true); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "the answer is lost")
	})
	m, err := register(t.Context(), e, &o, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	lose = true
	if err := m.acknowledge(t.Context(), apikey.Head{Seq: 1, LastEnd: 1, Sum: []byte{1}}); err != nil {
		t.Errorf("the acknowledgement that was made: got %v", err)
	}
	next := apikey.Head{Seq: 2, LastEnd: 2, Sum: []byte{2}}
	if err := m.acknowledge(t.Context(), next); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Errorf("while etcd is full: got %v, want %v", err, rpctypes.ErrNoSpace)
	}
	if err := space.setFull(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := m.acknowledge(t.Context(), next); err != nil || m.Acknowledged != 2 {
		t.Errorf("once there is space: got %v, want it acknowledged", err)
	}
}

// So does one that etcd makes only after the gateway has been told that there is no space, and
// wants to acknowledge more: in the same session, or in the next one.
func TestMembership_madeLate(t *testing.T) {
	t.Parallel()
	o := defaults(etcdtest.Start(t, 1))
	space := connect(t, o)
	var late *etcdserverpb.TxnRequest
	lose := false
	e := intercepted(t, o, func(ctx context.Context, txn *etcdserverpb.TxnRequest, invoke func() error) error {
		if !lose || len(txn.Compare) == 0 {
			return invoke()
		}
		lose, late = false, txn
		if err := space.setFull(ctx, true); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "the answer is late")
	})
	for name, next := range map[string]func(*membership) *membership{
		"same session": func(m *membership) *membership { return m },
		"next session": func(m *membership) *membership { return (&Fleet{last: m}).rejoin(t.Context(), e, &o) },
	} {
		m, err := register(t.Context(), e, &o, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.serve(t.Context(), apikey.Head{}); err != nil {
			t.Fatal(err)
		}
		lose = true
		if err := m.acknowledge(t.Context(), apikey.Head{Seq: 1, LastEnd: 1, Sum: []byte{1}}); !errors.Is(err, rpctypes.ErrNoSpace) {
			t.Errorf("%s: while etcd is full: got %v, want %v", name, err, rpctypes.ErrNoSpace)
		}
		m = next(m)
		if err := space.setFull(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		made, err := etcdserverpb.NewKVClient(space.client.ActiveConnection()).Txn(t.Context(), late)
		if err != nil || !made.Succeeded {
			t.Fatalf("%s: got %v, %v; want it made late", name, made, err)
		}
		if err := m.acknowledge(t.Context(), apikey.Head{Seq: 2, LastEnd: 2, Sum: []byte{2}}); err != nil || m.Acknowledged != 2 {
			t.Errorf("%s: after it was made late: got %v, want the next one acknowledged", name, err)
		}
	}
}

// A gateway that has to start again while etcd is full continues under the registration that it
// has: there is no space for another one.
func TestFleet_fullAndCutOff(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	g := startGateways(t, 1, defaults(cluster))[0]
	k := issue("acme", "Zapier")
	g.apply(t, k.Create)
	e := connect(t, defaults(cluster))
	if err := e.setFull(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	id := *g.id.Load()

	begun := g.watches.Load()
	(*g.restartWatch.Load())(rpctypes.ErrNoLeader)
	gatewaytest.Await(t, "another watch", func() bool { return g.watches.Load() > begun })
	g.awaitRenewed(t)
	if err := g.Adopt(*g.options.Load()); err != nil {
		t.Fatal(err)
	}
	g.awaitRenewed(t)
	if got := *g.id.Load(); got != id {
		t.Errorf("got the registration %s, want still %s", got, id)
	}

	// Its leases may not last for longer than that says, so it has to wait for space.
	o := *g.options.Load()
	o.MaxStaleness += time.Second
	if err := g.Adopt(o); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Await(t, "the problem to be known", func() bool { return strings.Contains(g.Problem(), "etcd has reached its quota") })
	if !g.Known().NoRoom {
		t.Error("the problem is not known to be that etcd has no space")
	}
	g.lease.end()
	if got := g.Refusal(); got != apikey.ErrFleetNoRoom {
		t.Errorf("got the refusal %q, want %q", got.Message, apikey.ErrFleetNoRoom.Message)
	}

	// Taken back, it continues under that.
	o.MaxStaleness -= time.Second
	if err := g.Adopt(o); err != nil {
		t.Fatal(err)
	}
	g.awaitLive(t)
	if got := *g.id.Load(); got != id {
		t.Errorf("after it was taken back: got the registration %s, want still %s", got, id)
	}
	if err := e.setFull(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if got := g.apply(t, revoke(k)).Propagation; !got.Confirmed {
		t.Errorf("got the propagation %+v, want it confirmed", got)
	}
}

// etcd also says that it is full of a change that it has made, if others use up its space just
// then. The outcome is what was made.
func TestAttempt_fullAfterwards(t *testing.T) {
	t.Parallel()
	o := defaults(etcdtest.Shared(t, 1))
	g := startGateways(t, 1, o)[0]
	made, full := true, false
	e := intercepted(t, o, func(_ context.Context, txn *etcdserverpb.TxnRequest, invoke func() error) error {
		if !full || len(txn.Success) == 0 {
			return invoke()
		}
		if made {
			if err := invoke(); err != nil {
				return err
			}
		}
		return rpctypes.ErrGRPCNoSpace
	})
	full = true
	try := func(name string) (result, error) {
		now := time.Now().UTC().Truncate(time.Millisecond)
		r := &request{
			ctx: t.Context(), done: make(chan result, 1), applied: func(apikey.Planned) error { return nil },
			change: apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: "test", Do: newKey("acme", name)},
		}
		a := &attempt{fleet: g.Fleet, etcd: e}
		if _, done, err := a.try(t.Context(), []*request{r}); err != nil || !done {
			return result{}, err
		}
		return <-r.done, nil
	}
	if done, err := try("made"); err != nil || done.outcome.Key.Name != "made" {
		t.Errorf("a change that was made: got %+v and error %v", done.outcome, err)
	}
	made = false
	if _, err := try("not made"); !errors.Is(err, rpctypes.ErrNoSpace) || errors.Is(err, errAmbiguous) {
		t.Errorf("a change that was not made: got error %v, want %v", err, rpctypes.ErrNoSpace)
	}
}
