package store

import (
	"errors"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Badger shows a commit before it is on the disk. When the disk then fails, the
// change can be read, and may be lost: asking again must not be answered as if
// it were done.
func TestApply_failedCommit(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(apikey.Key) apikey.Action
		told func(apikey.Key, apikey.Outcome) bool
	}{
		{"revoke", func(k apikey.Key) apikey.Action { return apikey.Revoke{WorkspaceID: "acme", KeyID: k.ID} },
			func(k apikey.Key, o apikey.Outcome) bool { return len(o.Ended) == 1 && o.Ended[0] == k.Digest }},
		{"suspend", func(apikey.Key) apikey.Action { return apikey.Suspend{WorkspaceID: "acme"} },
			func(_ apikey.Key, o apikey.Outcome) bool { return o.Workspace.Suspended() }},
		{"resume", func(apikey.Key) apikey.Action { return apikey.Resume{WorkspaceID: "globex"} }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			key := mustCreate(t, s, "acme", "Zapier", start)
			mustApply(t, s, start, apikey.Suspend{WorkspaceID: "globex"})
			var told []apikey.Outcome
			s.onChange = func(outcome apikey.Outcome) { told = append(told, outcome) }
			s.commitTxn = func(txn *badger.Txn) error {
				return errors.Join(txn.Commit(), errors.New("input/output error"))
			}
			at := start.Add(time.Hour)
			if _, err := s.Apply(t.Context(), changeAt(at, test.do(key))); !errors.Is(err, apikey.ErrStoreUnavailable) {
				t.Fatalf("got %v, want ErrStoreUnavailable", err)
			}
			if test.told == nil && len(told) > 0 {
				t.Error("told of a change that lets requests through, and may be lost")
			}
			if test.told != nil && (len(told) != 1 || !test.told(key, told[0])) {
				t.Errorf("told of %v, want that the key may not go on", told)
			}
			s.commitTxn = (*badger.Txn).Commit
			if _, err := s.Apply(t.Context(), changeAt(at, test.do(key))); !errors.Is(err, apikey.ErrStoreUnavailable) {
				t.Errorf("asked again: got %v, want ErrStoreUnavailable until the store is opened anew", err)
			}
		})
	}
}
