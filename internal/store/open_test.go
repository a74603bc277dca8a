package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// openFails opens what must not open, and returns what the error says after the
// beginning that all have.
func openFails(t *testing.T, path string) string {
	t.Helper()
	s, err := Open(path, zap.NewNop(), nil)
	if err == nil {
		closeStore(t, s)
		t.Fatal("Open: got a store, want an error")
	}
	beginning := fmt.Sprintf("opening key store at %q: ", path)
	reason, ok := strings.CutPrefix(err.Error(), beginning)
	if !ok {
		t.Fatalf("Open: got error %q, want it to begin with %q", err, beginning)
	}
	return reason
}

// Whatever keeps a store from being opened, its path is said.
func TestOpen_fails(t *testing.T) {
	s := openNew(t)
	equal(t, "error", openFails(t, s.Path()), "it is locked by this process, or one in another container: stop that process, or choose another path")
	closeStore(t, s)
	other, err := durable.Open(durable.Options{Path: s.Path(), Schema: schemaVersion, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.Note(func(txn *durable.Txn) error { return txn.Set([]byte("m/schema"), fmt.Append(nil, schemaVersion+1)) }), other.Close()); err != nil {
		t.Fatal(err)
	}
	if got, want := openFails(t, s.Path()), fmt.Sprintf("it has schema %d, and this version reads schema %d: ", schemaVersion+1, schemaVersion); !strings.HasPrefix(got, want) {
		t.Errorf("a newer schema: got %q, want it to begin with %q", got, want)
	}
}

// All that was kept is there after closing and opening again.
func TestOpen_again(t *testing.T) {
	s := openNew(t)
	live := mustCreate(t, s, "acme", "Live", start)
	revoked := mustRevoke(t, s, mustCreate(t, s, "acme", "Revoked", start), start).Key
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "other", Reason: "unpaid"})
	trail := allEvents(t, s, "")

	s = reopen(t, s)
	equal(t, "live key", lookup(t, s, live.Digest), live)
	equal(t, "revoked key", lookup(t, s, revoked.Digest), revoked)
	equal(t, "names", list(t, s, "acme", apikey.KeyFilter{}, 5, start), []string{"Revoked", "Live"})
	equal(t, "counts", counts(t, s, "acme", start), [3]int{1, 0, 1})
	equal(t, "suspended", suspended(t, s, "other"), true)
	equal(t, "events", allEvents(t, s, ""), trail)
	refused(t, s, start, apikey.Create{Key: newKey("acme", "live", start)}, apikey.ErrNameTaken)
}

func TestClose_twice(t *testing.T) {
	s := openNew(t)
	closeStore(t, s)
	closeStore(t, s)
	everyCall(t.Context(), s, func(call string, err error) { isUnavailable(t, call, err) })
}

// Closing waits for what is under way, and refuses what comes later: nothing
// panics, and what was acknowledged is there.
func TestClose_whileInUse(t *testing.T) {
	for round := range 5 {
		s := openNew(t)
		var (
			wg           sync.WaitGroup
			mu           sync.Mutex
			acknowledged []apikey.Key
			busy         = make(chan struct{}, 1000)
		)
		for worker := range 16 {
			wg.Go(func() {
				for closed := false; !closed; {
					busy <- struct{}{}
					name := fmt.Sprintf("Key %d %s", worker, apikey.NewKeyID(start))
					outcome, err := s.Apply(t.Context(), changeAt(start, apikey.Create{Key: newKey("kept", name, start)}))
					if err == nil {
						mu.Lock()
						acknowledged = append(acknowledged, outcome.Key)
						mu.Unlock()
					}
					everyCall(t.Context(), s, func(call string, err error) {
						if errors.Is(err, apikey.ErrStoreUnavailable) {
							closed = true
						} else if _, refusal := errors.AsType[*apikey.Error](err); closed || err != nil && !refusal {
							t.Errorf("%s: got error %v after ErrStoreUnavailable: %t", call, err, closed)
						}
					})
				}
			})
		}
		for range 32 + round*10 { // so that at least one worker has made a change
			<-busy
		}
		closeStore(t, s)
		go func() {
			for range busy { // give the workers time to see that it is closed
			}
		}()
		wg.Wait()
		close(busy)
		s = open(t, s.Path(), nil)
		if len(acknowledged) == 0 {
			t.Errorf("round %d: no change was made before the store was closed", round)
		}
		for _, key := range acknowledged {
			equal(t, "key", lookup(t, s, key.Digest), key)
		}
	}
}
