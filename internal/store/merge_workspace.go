package store

import (
	"cmp"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// suspension suspends a workspace that was suspended in the backup, unless it has been
// resumed since. An operator's suspension replaces one by the workspace's own
// administrator, and only an operator can have ended it.
func (m *merge) suspension(record *suspensionRecord) error {
	ws, err := workspaceByID(m.txn, record.WorkspaceID)
	if err != nil || ws.Suspended() && !outranks(record.Own, ws.Own) {
		return err
	}
	resumed, err := m.resumedSince(record.WorkspaceID, record.Own)
	if err != nil || resumed {
		return err
	}
	ws.SuspendedAt, ws.Reason, ws.Own = record.SuspendedAt.time(), record.Reason, record.Own
	m.outcomes = append(m.outcomes, apikey.Outcome{Workspace: ws})
	m.done.Suspended++
	return putSuspension(m.txn, ws)
}

// outranks reports whether a suspension replaces another one, given whether the
// workspaces' own administrators made them.
func outranks(own, otherOwn bool) bool { return !own && otherOwn }

// feed opens a calendar feed of the backup, unless it has ended in the store. If the
// workspace has another feed by now, this one is recorded as ended.
func (m *merge) feed(record *feedRecord) error {
	digest := apikey.Digest(record.Digest)
	if _, known, err := loadFeedState(m.txn, digest); known || err != nil {
		return err // nil: the store knows its state
	}
	if toMillis(m.madeAt) < m.forgotten.Feeds {
		return nil // it may have ended after the backup, and been deleted since
	}
	current, err := feedOf(m.txn, record.WorkspaceID)
	if err != nil {
		return err
	}
	if current != (apikey.Digest{}) {
		return putEndedFeed(m.txn, digest, feedState{}, toMillis(m.now))
	}
	return putFeed(m.txn, record)
}

// endedFeed ends a feed that has ended in the backup. It can be open in the store if
// the store itself was reset to an earlier state.
func (m *merge) endedFeed(digest apikey.Digest, at millis) error {
	state, _, err := loadFeedState(m.txn, digest)
	if err != nil || state.EndedAt != 0 { // the store knows that it has ended
		return err
	}
	return putEndedFeed(m.txn, digest, state, cmp.Or(at, toMillis(m.madeAt)))
}

// resumedSince reports whether, according to the store's audit trail, a workspace was
// resumed after the backup was made: by an operator, or by anyone if its own
// administrator had suspended it.
func (m *merge) resumedSince(ws string, own bool) (bool, error) {
	prefix := eventIndexKey(ws, "")
	for id := range newestFirst(m.txn, prefix, "") {
		var r eventRecord
		if err := load(m.txn, eventKey(id), &r); err != nil {
			return false, err
		}
		if r.At.time().Before(m.madeAt) {
			return false, nil
		}
		if r.Operation == string(apikey.OpResume) && r.Details["refused"] == nil && (own || r.Details[detailBy] == byOperator) {
			return true, nil
		}
	}
	return false, nil
}
