package store

import (
	"errors"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// TestSuspension_operators verifies that the workspace's own administrator can undo only
// what one did, and that a restore brings an operator's suspension back over theirs.
func TestSuspension_operators(t *testing.T) {
	operators := open(t, t.TempDir()+"/keys", nil)
	mustApply(t, operators, start, apikey.Suspend{WorkspaceID: "acme", Reason: "abuse"})
	backup := mustBackup(t, operators, start.Add(time.Minute))

	s, at := open(t, t.TempDir()+"/keys", nil), start.Add(time.Hour)
	mustApply(t, s, at, apikey.Suspend{WorkspaceID: "acme", Reason: "leaked", Own: true})
	mustRestore(t, s, backup, at)
	ws, err := s.Workspace(t.Context(), "acme")
	if err != nil || ws.Own || ws.Reason != "abuse" {
		t.Errorf("got %+v and error %v, want the operator's suspension", ws, err)
	}
	if _, err := s.Apply(t.Context(), changeAt(at, apikey.Resume{WorkspaceID: "acme", Own: true})); !errors.Is(err, apikey.ErrSuspendedByOperator) {
		t.Errorf("resuming it: got error %v, want %v", err, apikey.ErrSuspendedByOperator)
	}

	// The refusal is in the audit trail, and is no resume to a later restore.
	later := mustBackup(t, s, at.Add(time.Minute))
	fresh := open(t, t.TempDir()+"/keys", nil)
	mustRestore(t, fresh, later, at.Add(time.Hour))
	if ws, err := fresh.Workspace(t.Context(), "acme"); err != nil || !ws.Suspended() || ws.Own {
		t.Errorf("after another restore: got %+v and error %v, want the operator's suspension", ws, err)
	}
}

// After the loss of the store, the workspace's own administrator can suspend and resume
// it: that does not undo an operator's suspension which a backup brings back.
func TestSuspension_resumedBeforeRestore(t *testing.T) {
	for _, test := range []struct {
		name                 string
		suspendedBy, resumed bool // whether its own administrator did
		suspended            bool // after the restore
	}{
		{"an operator's, by an operator", false, false, false},
		{"an operator's, by its administrator", false, true, true},
		{"its administrator's, by an operator", true, false, false},
		{"its administrator's, by its administrator", true, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			lost := openNew(t)
			mustApply(t, lost, start, apikey.Suspend{WorkspaceID: "acme", Reason: "leaked", Own: test.suspendedBy})
			backup := mustBackup(t, lost, start.Add(time.Minute))

			s, at := openNew(t), start.Add(time.Hour)
			mustApply(t, s, at, apikey.Suspend{WorkspaceID: "acme", Own: test.resumed})
			mustApply(t, s, at, apikey.Resume{WorkspaceID: "acme", Own: test.resumed})
			mustRestore(t, s, backup, at)
			equal(t, "suspended", suspended(t, s, "acme"), test.suspended)
		})
	}
}
