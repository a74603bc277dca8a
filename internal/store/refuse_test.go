package store

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// A reload that cannot write anything refuses what it was to end, and what it was to delete.
func TestReload_cannotBegin(t *testing.T) {
	source, now := openNew(t), time.Now().Truncate(time.Millisecond)
	ended, gone, kept := mustCreate(t, source, "acme", "Zapier", now), mustCreate(t, source, "acme", "Gone", now), mustCreate(t, source, "acme", "Billing", now)
	log := openFleet(t, 1)
	s, at := log.replicas[0], log.after(nil, "", false)
	mustReload(t, s, []apikey.Record{keyRecordOf(t, ended), keyRecordOf(t, gone), keyRecordOf(t, kept)}, at)
	mustRevoke(t, source, ended, now)
	all := []apikey.Record{keyRecordOf(t, kept), keyRecordOf(t, lookup(t, source, ended.Digest))}

	var refused []apikey.Digest
	s.onChange = func(o apikey.Outcome) {
		if o.InDoubt {
			refused = append(refused, o.Ended...)
		}
	}
	leave(s, 0)
	r, err := s.BeginReload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	for _, record := range all {
		if err := r.Add(t.Context(), []apikey.Record{record}); !errors.Is(err, apikey.ErrNoSpace) {
			t.Errorf("Add: got error %v, want %v", err, apikey.ErrNoSpace)
		}
	}
	equal(t, "keys that are refused", refused, []apikey.Digest{ended.Digest})
	if err := r.Finish(t.Context(), at, hashOf(all)); !errors.Is(err, apikey.ErrNoSpace) {
		t.Errorf("Finish: got error %v, want %v", err, apikey.ErrNoSpace)
	}
	equal(t, "keys that are refused in the end", refused, []apikey.Digest{ended.Digest, gone.Digest})
}

// What could not be applied is refused until the replica has all that the fleet has: an older
// change of the same key changes nothing about that. Where the fleet has gone back to before
// that, nothing of it is refused afterwards.
func TestRefuse_untilSettled(t *testing.T) {
	source, now := openNew(t), time.Now().Truncate(time.Millisecond)
	token, key := mustIssue(t, source, "acme", now)
	other, otherKey := mustIssue(t, source, "globex", now)
	log := openFleet(t, 1)
	s, at := log.replicas[0], log.after(nil, "", false)
	mustReload(t, s, []apikey.Record{keyRecordOf(t, key), keyRecordOf(t, otherKey)}, at)
	a, err := authn.New(s, 10, time.Now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	s.onChange = a.Changed
	check := func(when string, acme, globex authn.Result) {
		t.Helper()
		for token, want := range map[apikey.Token]authn.Result{token: acme, other: globex} {
			facts := &authn.Facts{Method: "GET", Authorization: []string{"Bearer " + token.Reveal()}}
			equal(t, when, a.Check(t.Context(), &authn.Policy{ReadMethods: []string{"GET"}}, facts).Result, want)
		}
	}
	check("at first", authn.Allowed, authn.Allowed)

	renamed := key
	renamed.Name = "Zapier production"
	mustRevoke(t, source, key, now)
	s.Refuse([]apikey.Record{
		keyRecordOf(t, lookup(t, source, key.Digest)),
		recordOf(t, apikey.RecordSuspension, "globex", workspaceRecord{SuspendedAt: toMillis(now)}),
	})
	check("refused", authn.Unavailable, authn.Suspended)
	next := at
	next.Seq++
	older := []apikey.Record{keyRecordOf(t, renamed), {Kind: apikey.RecordSuspension, ID: "globex"}}
	if err := s.Replay(t.Context(), at, next, older); err != nil {
		t.Fatal(err)
	}
	check("after an older change", authn.Unavailable, authn.Suspended)
	forgotten, oldest, lost := apikey.NewEventID(now), apikey.NewEventID(now), apikey.NewEventID(now)
	wantLacks := func(when string, events []string, lostBefore bool, want ...string) {
		t.Helper()
		lacks, err := s.Settle(events, lostBefore)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "events that are lacking "+when, lacks, want)
		check(when, authn.Unavailable, authn.Suspended)
	}
	wantLacks("without any event", []string{forgotten}, false, forgotten)
	if err := s.writeLocally(t.Context(), now, func(txn *transaction) error {
		return txn.Set(eventKey(oldest), nil)
	}); err != nil {
		t.Fatal(err)
	}
	wantLacks("without the latest event", []string{forgotten, oldest, lost}, false, lost)
	wantLacks("without what was lost before", []string{forgotten, oldest}, true, forgotten)
	if lacks, err := s.Settle([]string{forgotten, oldest}, false); err != nil || len(lacks) > 0 {
		t.Fatal(err)
	}
	check("settled", authn.Allowed, authn.Allowed)
}
