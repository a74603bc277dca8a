package fleet

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// awaitRefusal waits until a gateway says that the records in etcd are not the fleet's.
func (g *gateway) awaitRefusal(t *testing.T, what string) {
	t.Helper()
	gatewaytest.Await(t, what+" to be noticed", func() bool { return strings.Contains(g.Problem(), errRecords.Error()) })
}

// checkRecords checks that the records in etcd are those that its head stands for.
func (g *gateway) checkRecords(t *testing.T) {
	t.Helper()
	head, revision, err := g.connection().readHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := g.connection().allRecords(t.Context(), revision, head.Head, func([]apikey.Record) error { return nil }); err != nil {
		t.Error(err)
	}
}

// A gateway whose replica is empty accepts no other records than those that the others
// have written, although each of them was once.
func TestFleet_filledWithOtherRecords(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	g := startGateways(t, 1, defaults(cluster))[0]
	i := intruder{t, g.connection()}
	revoked, kept := issue("acme", "revoked"), issue("acme", "kept")
	suspended, resumed := suspendPrefix+"acme", suspendPrefix+"globex"
	g.apply(t, revoked.Create)
	active := i.get(revoked.recordName())
	g.apply(t, revoke(revoked))
	g.apply(t, kept.Create)
	g.apply(t, apikey.Suspend{WorkspaceID: "globex", Reason: "test"})
	deleted := i.get(resumed)
	g.apply(t, apikey.Resume{WorkspaceID: "globex"})
	g.apply(t, apikey.Suspend{WorkspaceID: "acme", Reason: "test"})
	names := slices.Sorted(maps.Keys(g.records(t)))
	event := names[0] // d/a/ comes first

	for name, test := range map[string]struct {
		name   string
		tamper func()
	}{
		"an old value of a key":       {revoked.recordName(), func() { i.put(revoked.recordName(), active) }},
		"a key that is left out":      {kept.recordName(), func() { i.remove(kept.recordName()) }},
		"a suspension that is gone":   {suspended, func() { i.remove(suspended) }},
		"an event that is gone":       {event, func() { i.remove(event) }},
		"a suspension that was ended": {"", func() { i.put(resumed, deleted) }},
	} {
		undo := func() { i.remove(resumed) }
		if test.name != "" {
			before := i.get(test.name)
			undo = func() { i.put(test.name, before) }
		}
		test.tamper()
		dir := t.TempDir()
		fresh := openIn(t, dir, name, defaults(cluster))
		fresh.awaitRefusal(t, name)
		if fresh.Live() || fresh.allows(t, revoked) || fresh.allows(t, kept) {
			t.Errorf("%s: the gateway is live: %t, allows a revoked key: %t, allows one of a suspended workspace: %t",
				name, fresh.Live(), fresh.allows(t, revoked), fresh.allows(t, kept))
		}
		fresh.close()
		undo()
		fresh = openIn(t, dir, name, defaults(cluster)) // with the wrong records in its replica
		fresh.awaitLive(t)
		if got, want := fresh.records(t), g.records(t); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %d other records than there are, want the same %d", name, len(got), len(want))
		}
		fresh.close()
	}
}

// A replica that is complete, and has missed too much, is not touched by other records
// than the fleet's: a gateway in static mode serves with it.
func TestFleet_filledAnewWithOtherRecords(t *testing.T) {
	t.Parallel()
	for _, static := range []bool{false, true} {
		t.Run((&Options{Static: static}).mode(), func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, 1)
			g, other := openProxied(t, cluster, "gw"), openGateway(t, "other", defaults(cluster))
			g.awaitLive(t)
			g.close()
			g.options.Static = static
			g.open(t)
			g.awaitLive(t)
			other.awaitLive(t)
			i := intruder{t, other.connection()}
			revoked, kept := issue("acme", "revoked"), issue("acme", "kept")
			other.apply(t, revoked.Create)
			other.apply(t, kept.Create)
			active := i.get(revoked.recordName())
			other.apply(t, revoke(revoked))
			g.awaitPosition(t, other)
			before, now := g.records(t), i.get(revoked.recordName())

			g.each((*etcdtest.Proxy).Drop)
			other.apply(t, newKey("acme", "missed"))
			i.put(revoked.recordName(), active)
			cluster.Compact()
			g.each((*etcdtest.Proxy).Pass)
			g.awaitRefusal(t, "an old value of a key")
			if got := [3]bool{g.Live(), g.allows(t, kept), g.allows(t, revoked)}; got != [3]bool{static, static, false} {
				t.Errorf("got live %t, %t for a key and %t for a revoked one; want %t, %t and false", got[0], got[1], got[2], static, static)
			}
			if got := g.records(t); !reflect.DeepEqual(got, before) {
				t.Errorf("got %d other records in the replica, want the same %d as before", len(got), len(before))
			}

			i.put(revoked.recordName(), now)
			g.awaitPosition(t, other)
			g.awaitLive(t)
			if got, want := g.records(t), other.records(t); !reflect.DeepEqual(got, want) {
				t.Errorf("got %d other records afterwards, want the same %d as the others have", len(got), len(want))
			}
		})
	}
}

// Records that are refused are read again after a pause that grows, however long that takes.
func TestNextRetry(t *testing.T) {
	refused := fmt.Errorf("%w, as of change 7", errRecords)
	for _, test := range []struct {
		name string
		took time.Duration
		err  error
		want []time.Duration // the first ones, and what they grow to
	}{
		{"it does not begin", 0, errCompacted, []time.Duration{minRetry, 2 * minRetry, 4 * minRetry, maxRetry}},
		{"it took part for a while", time.Minute, errCompacted, []time.Duration{minRetry, minRetry, minRetry, minRetry}},
		{"a few refused records", 0, refused, []time.Duration{minRetry, 2 * minRetry, 4 * minRetry, longestUnread}},
		{"many refused records", time.Minute, refused, []time.Duration{minRetry, 2 * minRetry, 4 * minRetry, longestUnread}},
	} {
		var got []time.Duration
		wait := time.Duration(0)
		for range 20 {
			wait = nextRetry(wait, test.took, test.err)
			got = append(got, wait)
		}
		if got = append(got[:3], wait); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
	if got := nextRetry(longestUnread, 0, errCompacted); got != maxRetry {
		t.Errorf("another failure afterwards: got %v, want %v", got, maxRetry)
	}
}
