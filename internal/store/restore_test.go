package store

import (
	"context"
	"runtime"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// A transaction of a restore restores all of a batch, but only its beginning if another change
// waits, which is made next.
func TestRestore_whileAwaited(t *testing.T) {
	var batch []backupLine
	for n := range restoredAtOnce {
		batch = append(batch, craftedKey(n+1))
	}
	m := &merge{mayHave: func(apikey.Digest) bool { return true }, now: start, awaited: func() bool { return false }}
	if err := behind(openNew(t), func(txn *transaction) error { return m.all(txn, apikey.Restored{}, batch) }); err != nil {
		t.Fatal(err)
	}
	equal(t, "keys in one transaction while nobody waits", m.merged, restoredAtOnce)

	s := openNew(t)
	s.db.StopUpkeep() // which waits for changes, too
	r := &restore{store: s, change: changeAt(start, nil), done: new(apikey.Restored), pacer: durable.Unpaced(t.Context())}
	keysThen := 0
	s.onChange = func(apikey.Outcome) { keysThen = len(keysByID(t, s)) }
	errs := make(chan error)
	if err := s.db.Change(t.Context(), "", false, func(*durable.Turn) error {
		go func() { errs <- r.write(context.Background(), batch) }()
		for !s.db.Awaited() {
			runtime.Gosched()
		}
		go func() {
			_, err := s.Apply(context.Background(), changeAt(start, apikey.Create{Key: newKey("globex", "Zapier", start)}))
			errs <- err
		}()
		for s.db.Waiting() == 0 {
			runtime.Gosched()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Errorf("got error %v, want none", err)
		}
	}
	if keysThen < restoredWhileAwaited || keysThen >= restoredWhileAwaited+yieldAfter {
		t.Errorf("got %d keys before the change that waited, want %d or a few more", keysThen, restoredWhileAwaited)
	}
	equal(t, "keys afterwards", len(keysByID(t, s)), restoredAtOnce)
	equal(t, "findings", check(t, s, start), map[string]string{})
}
