package fleet

import (
	"fmt"
	"maps"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// sharingUses are options of gateways that exchange uses at short intervals.
func sharingUses(t *testing.T) Options {
	o := defaults(etcdtest.Shared(t, 1))
	o.useInterval = 20 * time.Millisecond
	return o
}

// note notes that a key was used on a gateway.
func (g *gateway) note(t *testing.T, keyID string, at time.Time, from string) {
	t.Helper()
	uses := map[string]apikey.Use{keyID: {At: at, From: from}}
	if err := g.store.NoteUses(uses); err != nil {
		t.Fatal(err)
	}
	g.NoteUses(maps.Keys(uses))
}

// awaitUse waits until a gateway shows when a key was used.
func (g *gateway) awaitUse(t *testing.T, keyID string, first, last time.Time, from string) {
	t.Helper()
	gatewaytest.Await(t, "the use of a key to be known", func() bool {
		uses, err := g.store.SharedUses([]string{keyID})
		got := uses[keyID]
		return err == nil && got.First.Equal(first) && got.Last.Equal(last) && got.From == from
	})
}

// All gateways show the first use and the last one, whichever of them saw it.
func TestUses(t *testing.T) {
	t.Parallel()
	o := sharingUses(t)
	all := startGateways(t, 2, o)
	key := all[0].apply(t, newKey("acme", "Zapier")).Key
	all[1].awaitPosition(t, all[0])
	first := time.Now().UTC().Truncate(time.Millisecond)
	all[0].note(t, key.ID, first, "192.0.2.1")
	all[1].awaitUse(t, key.ID, first, first, "192.0.2.1")

	last := first.Add(time.Minute)
	all[1].note(t, key.ID, last, "192.0.2.2")
	all[0].note(t, key.ID, last.Add(-time.Second), "192.0.2.1") // whichever is told first
	for _, g := range all {
		g.awaitUse(t, key.ID, first, last, "192.0.2.2")
	}

	added := openGateway(t, "added", o)
	added.awaitLive(t)
	added.awaitUse(t, key.ID, first, last, "192.0.2.2")

	// A gateway that stops tells what it has not told.
	seldom := o
	seldom.useInterval = time.Hour
	leaving := openGateway(t, "leaving", seldom)
	leaving.awaitLive(t)
	last = last.Add(time.Minute)
	leaving.note(t, key.ID, last, "192.0.2.3")
	leaving.close()
	all[0].awaitUse(t, key.ID, first, last, "192.0.2.3")
}

// What is in etcd is bounded: it has only keys that exist.
func TestUses_deleted(t *testing.T) {
	t.Parallel()
	g := startGateways(t, 1, sharingUses(t))[0]
	e := g.connection()
	gone := apikey.FirstKeyID(time.Now().Add(-2 * knownAfter))
	name := e.name(useName(gone))
	i := intruder{t, e}
	i.put(useName(gone), e.sealUses(name, map[string]apikey.SharedUse{gone: {Last: time.Now()}}))
	gatewaytest.Await(t, "the use of a key that is gone to be deleted", func() bool {
		read, err := e.read(t.Context(), clientv3.OpGet(name))
		return err == nil && len(read.Responses[0].GetResponseRange().Kvs) == 0
	})
}

// A value that no gateway wrote is ignored, and overwritten.
func TestUses_damaged(t *testing.T) {
	t.Parallel()
	all := startGateways(t, 2, sharingUses(t))
	key := all[0].apply(t, newKey("acme", "Zapier")).Key
	all[1].awaitPosition(t, all[0])
	intruder{t, all[0].connection()}.put(useName(key.ID), fmt.Sprintf(`{%q:{"l":1}}`, key.ID))
	now := time.Now().UTC().Truncate(time.Millisecond)
	all[0].note(t, key.ID, now, "192.0.2.1")
	all[1].awaitUse(t, key.ID, now, now, "192.0.2.1")
}

// Keys that somebody watches are told of soon, and all others some time.
func TestUses_isDue(t *testing.T) {
	now := time.Now()
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		use   apikey.SharedUse
		since time.Duration // how long ago it was noted
		want  bool
	}{
		"first use":                    {apikey.SharedUse{First: now, Last: now}, 0, true},
		"used since a moment ago":      {apikey.SharedUse{First: now.Add(-time.Hour), Last: now}, 0, true},
		"used since long ago":          {apikey.SharedUse{First: now.Add(-day), Last: now}, 0, false},
		"used since long ago, waiting": {apikey.SharedUse{First: now.Add(-day), Last: now}, 7 * time.Hour, true},
		"replaced":                     {apikey.SharedUse{First: now.Add(-day), Last: now, Replaced: true}, 0, true},
	} {
		if got := isDue(test.use, now.Add(-test.since), 6*time.Hour); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

// Only so many keys wait.
func TestUses_bounded(t *testing.T) {
	var u uses
	for i := range maxUnshared + 10 {
		u.add(fmt.Sprint(i), time.Now())
	}
	if got := len(u.take()); got != maxUnshared {
		t.Errorf("got %d keys that wait, want %d", got, maxUnshared)
	}
}
