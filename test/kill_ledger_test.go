package test

import (
	"fmt"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// ledger is what there must be in a workspace, going by its audit trail alone.
// No event may come twice, end what has ended, or be about a key that never was:
// so each key has one event that made it, and each revoked one another that ended
// it.
type ledger struct {
	keys      map[string]client.Key // without what no event says: see bare
	workspace client.Workspace      // without the counts
	feed      bool
	last      client.Event
}

// readLedger goes through the events of a workspace, oldest first.
func readLedger(ws string, trail []client.Event) (*ledger, error) {
	l := &ledger{keys: make(map[string]client.Key), workspace: client.Workspace{ID: ws}}
	for _, event := range trail {
		if err := l.add(event); err != nil {
			return nil, fmt.Errorf("the event %s (%s of %q): %w", event.ID, event.Operation, event.KeyID, err)
		}
	}
	return l, nil
}

func (l *ledger) add(e client.Event) error {
	if e.ID <= l.last.ID || e.At.Before(l.last.At) {
		return fmt.Errorf("it comes after %s", l.last.ID)
	}
	if e.WorkspaceID != l.workspace.ID {
		return fmt.Errorf("it is of the workspace %q", e.WorkspaceID)
	}
	l.last = e
	if e.Details["refused"] != nil {
		return nil
	}
	switch e.Operation {
	case "create":
		return l.insert(e, client.Key{ID: e.KeyID})
	case "update":
		return l.update(e)
	case "rotate":
		return l.rotate(e)
	case "revoke":
		return l.end(e.KeyID, e, text(e, "reason"))
	case "revoke_all":
		return l.revokeAll(e)
	case "lookup":
		_, err := l.key(e.KeyID)
		return err
	case "suspend":
		return l.suspend(e)
	case "resume":
		if !l.workspace.Suspended {
			return fmt.Errorf("the workspace was not suspended")
		}
		l.workspace = client.Workspace{ID: l.workspace.ID}
	case "calendar_feed":
		if e.Details["replaced"] != l.feed {
			return fmt.Errorf("it replaced a feed: %v; there was one: %v", e.Details["replaced"], l.feed)
		}
		l.feed = true
	case "calendar_feed_revoke":
		if !l.feed {
			return fmt.Errorf("there was no feed")
		}
		l.feed = false
	default:
		return fmt.Errorf("nobody asked for such a change")
	}
	return nil
}

// key returns a key that an event is about.
func (l *ledger) key(id string) (client.Key, error) {
	key, ok := l.keys[id]
	if !ok {
		return key, fmt.Errorf("there is no key %q", id)
	}
	return key, nil
}

// active returns a key that an event may change.
func (l *ledger) active(id string) (client.Key, error) {
	key, err := l.key(id)
	if err == nil && key.Status != "active" {
		err = fmt.Errorf("%s had been %s before", id, key.Status)
	}
	return key, err
}

// insert adds the key that an event made, and of which more is known already.
func (l *ledger) insert(e client.Event, key client.Key) error {
	if _, ok := l.keys[key.ID]; ok || key.ID == "" {
		return fmt.Errorf("%q was made before", key.ID)
	}
	expires, err := time.Parse(time.RFC3339Nano, text(e, "expires_at"))
	if err != nil {
		return err
	}
	preset, err := apikey.ParsePreset(text(e, "preset"))
	if err != nil {
		return err
	}
	key.WorkspaceID, key.Name, key.Owner = e.WorkspaceID, text(e, "name"), text(e, "owner")
	key.Preset, key.Abilities, key.Status = string(preset), preset.Abilities(), "active"
	key.CreatedAt, key.CreatedBy, key.ExpiresAt = e.At, e.Actor, expires
	l.keys[key.ID] = key
	return nil
}

func (l *ledger) update(e client.Event) error {
	key, err := l.active(e.KeyID)
	if err != nil {
		return err
	}
	for detail, field := range map[string]*string{"name": &key.Name, "owner": &key.Owner} {
		if e.Details[detail] == nil {
			continue
		}
		if before := text(e, detail+"_before"); before != *field {
			return fmt.Errorf("the %s before was %q, the event says %q", detail, *field, before)
		}
		*field = text(e, detail)
	}
	l.keys[key.ID] = key
	return nil
}

func (l *ledger) rotate(e client.Event) error {
	old, err := l.active(e.KeyID)
	if err != nil {
		return err
	}
	id := text(e, "replaced_by")
	if err := l.insert(e, client.Key{ID: id, Replaces: &old.ID}); err != nil {
		return err
	}
	old.ReplacedBy = &id
	if e.Details["revokes_at"] != nil {
		at, err := time.Parse(time.RFC3339Nano, text(e, "revokes_at"))
		if err != nil {
			return err
		}
		old.RevokesAt = &at
	}
	l.keys[old.ID] = old
	if e.Details["revoked_at"] != nil {
		return l.end(old.ID, e, "replaced by "+id)
	}
	return nil
}

// end revokes a key as an event says.
func (l *ledger) end(id string, e client.Event, reason string) error {
	key, err := l.active(id)
	if err != nil {
		return err
	}
	key.Status, key.RevokedAt, key.RevokedBy, key.RevokeReason = "revoked", &e.At, &e.Actor, nil
	if reason != "" {
		key.RevokeReason = &reason
	}
	l.keys[id] = key
	return nil
}

func (l *ledger) revokeAll(e client.Event) error {
	ids, _ := e.Details["key_ids"].([]any)
	if e.Details["revoked"] != float64(len(ids)) {
		return fmt.Errorf("it names %d keys, and counts %v", len(ids), e.Details["revoked"])
	}
	for _, id := range ids {
		if err := l.end(fmt.Sprint(id), e, text(e, "reason")); err != nil {
			return err
		}
	}
	for id, key := range l.keys {
		if key.Status == "active" {
			return fmt.Errorf("it left out %s", id)
		}
	}
	return nil
}

func (l *ledger) suspend(e client.Event) error {
	if l.workspace.Suspended {
		return fmt.Errorf("the workspace was suspended before")
	}
	reason := text(e, "reason")
	l.workspace.Suspended, l.workspace.SuspendedAt, l.workspace.Reason = true, &e.At, &reason
	return nil
}

// text returns a detail of an event.
func text(e client.Event, detail string) string {
	s, _ := e.Details[detail].(string)
	return s
}

// bare returns a key without what no event says: the end of its token, and when
// it was used last.
func bare(key client.Key) client.Key {
	key.TokenHint, key.LastUsedAt = "", nil
	return key
}
