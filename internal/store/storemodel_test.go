package store

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// model is what a store does, said as plainly as it can be: in memory, and by
// looking at everything each time.
type model struct {
	keys       []apikey.Key // in the order of their making
	workspaces map[string]apikey.Workspace
	confirmed  time.Time      // zero if no time is confirmed
	events     []apikey.Event // without details
}

func (m *model) apply(change apikey.Change) (apikey.Outcome, error) {
	workspaceID, keyID := change.Do.Subject()
	event := apikey.Event{
		ID: change.EventID, At: change.At, Actor: change.Actor, RemoteIP: change.RemoteIP, Operation: change.Do.Operation(),
		WorkspaceID: workspaceID, KeyID: keyID,
	}
	outcome, err := m.do(change)
	if outcome.Unchanged || err != nil && change.Unrecorded {
		return outcome, err
	}
	switch change.Do.(type) {
	case apikey.Create, apikey.Import, apikey.Lookup:
		if err == nil {
			event.WorkspaceID, event.KeyID = outcome.Key.WorkspaceID, outcome.Key.ID
		}
	}
	m.events = append(m.events, event)
	if err == nil {
		outcome.Event = event
	}
	return outcome, err
}

func (m *model) do(change apikey.Change) (outcome apikey.Outcome, err error) {
	now := change.At
	end := func(key *apikey.Key, reason string) {
		if key.RevokedAt = key.EffectiveRevokedAt(now); key.RevokedAt.IsZero() {
			key.RevokedAt = now
		}
		key.RevokedBy, key.RevokeReason = change.Actor, reason
		outcome.Revoked++
		outcome.Ended = append(outcome.Ended, key.Digest)
	}
	switch do := change.Do.(type) {
	case apikey.Create:
		if m.taken(do.Key.WorkspaceID, do.Key.Name, now) {
			return outcome, apikey.ErrNameTaken
		}
		if do.MaxActive > 0 && m.active(do.Key.WorkspaceID, now) >= do.MaxActive {
			return outcome, apikey.ErrTooManyKeys
		}
		m.keys = append(m.keys, do.Key)
		return apikey.Outcome{Key: do.Key, Stale: []apikey.Digest{do.Key.Digest}}, nil
	case apikey.Import:
		i := slices.IndexFunc(m.keys, func(k apikey.Key) bool { return k.Digest == do.Key.Digest })
		switch {
		case i < 0 && m.taken(do.Key.WorkspaceID, do.Key.Name, now):
			return outcome, apikey.ErrNameTaken
		case i < 0:
			m.keys = append(m.keys, do.Key)
			return apikey.Outcome{Key: do.Key, Stale: []apikey.Digest{do.Key.Digest}}, nil
		}
		if k := m.keys[i]; k.WorkspaceID != do.Key.WorkspaceID || k.Status(now) != apikey.Active || k.Name != do.Key.Name || k.Preset != do.Key.Preset {
			return outcome, apikey.ErrTokenTaken
		}
		known := m.keys[i]
		known.FirstUsedAt, known.LastUsedAt = time.Time{}, time.Time{}
		return apikey.Outcome{Key: known, Unchanged: true}, nil
	case apikey.Update:
		key := m.key(do.WorkspaceID, do.KeyID)
		switch {
		case key == nil:
			return outcome, apikey.ErrNotFound
		case key.Status(now) != apikey.Active:
			return outcome, apikey.ErrNotActive
		case *do.Name == key.Name:
			return apikey.Outcome{Key: *key, Unchanged: true}, nil
		case !sameName(*do.Name, key.Name) && m.taken(do.WorkspaceID, *do.Name, now):
			return outcome, apikey.ErrNameTaken
		}
		key.Name = *do.Name
		return apikey.Outcome{Key: *key, Stale: []apikey.Digest{key.Digest}}, nil
	case apikey.Rotate:
		old := m.key(do.WorkspaceID, do.KeyID)
		switch {
		case old == nil:
			return outcome, apikey.ErrNotFound
		case old.Status(now) != apikey.Active:
			return outcome, apikey.ErrNotActive
		case m.replaced(*old, now):
			return outcome, apikey.ErrAlreadyRotated
		case m.before(*old, now) >= 2:
			return outcome, apikey.ErrTooManyKeys
		}
		key := do.Replacement
		key.WorkspaceID, key.Owner, key.Preset, key.Replaces, key.Family = old.WorkspaceID, old.Owner, old.Preset, old.ID, old.FamilyID()
		if key.Name == "" {
			key.Name = old.Name
		}
		if !sameName(key.Name, old.Name) && m.taken(old.WorkspaceID, key.Name, now) {
			return outcome, apikey.ErrNameTaken
		}
		old.ReplacedBy, old.ReplacedAt = key.ID, now
		if at := do.RevokeOldAt; !at.IsZero() && !at.After(now) {
			end(old, "replaced by "+key.ID)
		} else if !at.IsZero() && at.Before(old.ExpiresAt) && (old.RevokesAt.IsZero() || at.Before(old.RevokesAt)) {
			old.RevokesAt = at
		}
		outcome.Key, outcome.Replaced, outcome.Stale = key, *old, []apikey.Digest{key.Digest, old.Digest}
		m.keys = append(m.keys, key)
		return outcome, nil
	case apikey.Revoke:
		key := m.key(do.WorkspaceID, do.KeyID)
		if key == nil {
			return outcome, apikey.ErrNotFound
		}
		if !key.RevokedAt.IsZero() {
			return apikey.Outcome{Key: *key, Unchanged: true}, nil
		}
		end(key, do.Reason)
		outcome.Key = *key
	case apikey.RevokeAll:
		endedBy := now
		if certain := m.confirmed.Add(-jump); !m.confirmed.IsZero() && certain.Before(now) {
			endedBy = certain
		}
		for i := range m.keys {
			if key := &m.keys[i]; key.WorkspaceID == do.WorkspaceID && key.Status(endedBy) == apikey.Active {
				end(key, do.Reason)
			}
		}
		outcome.Unchanged = outcome.Revoked == 0
	case apikey.Lookup:
		i := slices.IndexFunc(m.keys, func(k apikey.Key) bool { return k.Digest == do.Digest })
		if i < 0 {
			return outcome, apikey.ErrNotFound
		}
		return apikey.Outcome{Key: m.keys[i]}, nil
	case apikey.Suspend:
		if ws, ok := m.workspaces[do.WorkspaceID]; ok {
			return apikey.Outcome{Workspace: ws, Unchanged: true}, nil
		}
		outcome.Workspace = apikey.Workspace{ID: do.WorkspaceID, SuspendedAt: now, Reason: do.Reason}
		m.workspaces[do.WorkspaceID] = outcome.Workspace
	case apikey.Resume:
		_, suspended := m.workspaces[do.WorkspaceID]
		delete(m.workspaces, do.WorkspaceID)
		return apikey.Outcome{Workspace: apikey.Workspace{ID: do.WorkspaceID}, Unchanged: !suspended}, nil
	case apikey.Expose:
		key := m.key(do.WorkspaceID, do.KeyID)
		if key == nil {
			return outcome, apikey.ErrNotFound
		}
		if !key.ExposedAt.IsZero() {
			return apikey.Outcome{Key: *key, Unchanged: true}, nil
		}
		key.ExposedAt = now
		return apikey.Outcome{Key: *key, Stale: []apikey.Digest{key.Digest}}, nil
	case apikey.Leak:
		key := m.key(do.WorkspaceID, do.KeyID)
		if key == nil {
			return outcome, apikey.ErrNotFound
		}
		first, revokes := key.LeakedAt.IsZero(), do.Revoke && key.RevokedAt.IsZero()
		if first {
			key.LeakedAt = now
		}
		if revokes {
			end(key, apikey.LeakReason(do.URL))
		}
		outcome.Key, outcome.Stale, outcome.Unchanged = *key, []apikey.Digest{key.Digest}, !first && !revokes
		if outcome.Unchanged {
			outcome.Stale = nil
		}
		return outcome, nil
	}
	outcome.Stale = outcome.Ended
	return outcome, nil
}

func (m *model) key(ws, id string) *apikey.Key {
	for i := range m.keys {
		if m.keys[i].ID == id && m.keys[i].WorkspaceID == ws {
			return &m.keys[i]
		}
	}
	return nil
}

func (m *model) taken(ws, name string, now time.Time) bool {
	return slices.ContainsFunc(m.keys, func(k apikey.Key) bool {
		return k.WorkspaceID == ws && k.Status(now) == apikey.Active && sameName(k.Name, name)
	})
}

// sameName reports whether two of the names of these tests look alike.
func sameName(a, b string) bool {
	return strings.EqualFold(strings.ReplaceAll(a, "а", "a"), strings.ReplaceAll(b, "а", "a")) // the first is Cyrillic
}

func (m *model) use(ws, id string, at time.Time) {
	key := m.key(ws, id)
	if key.LastUsedAt = at; key.FirstUsedAt.IsZero() {
		key.FirstUsedAt = at
	}
}

// replaced reports whether an active key replaces this one, directly or not.
func (m *model) replaced(key apikey.Key, now time.Time) bool {
	next := m.key(key.WorkspaceID, key.ReplacedBy)
	return next != nil && (next.Status(now) == apikey.Active || m.replaced(*next, now))
}

// before counts the active keys that this one replaces, directly or not.
func (m *model) before(key apikey.Key, now time.Time) int {
	previous := m.key(key.WorkspaceID, key.Replaces)
	if previous == nil {
		return 0
	}
	n := m.before(*previous, now)
	if previous.Status(now) == apikey.Active {
		n++
	}
	return n
}

// active counts the active keys of a workspace, without those being replaced.
func (m *model) active(ws string, now time.Time) (n int) {
	for _, key := range m.keys {
		if key.WorkspaceID == ws && key.Status(now) == apikey.Active && !m.replaced(key, now) {
			n++
		}
	}
	return n
}

// listed returns the keys of a workspace that a filter chooses, newest first.
func (m *model) listed(ws string, filter apikey.KeyFilter, now time.Time) []apikey.Key {
	keys := []apikey.Key{}
	for _, key := range slices.Backward(m.keys) {
		if key.WorkspaceID == ws && (filter.Status == "" || key.Status(now) == filter.Status) &&
			(filter.EndsBy.IsZero() || key.Status(now) == apikey.Active && !key.ActiveUntil().After(filter.EndsBy)) &&
			strings.Contains(strings.ToLower(key.Name), strings.ToLower(filter.Query)) {
			keys = append(keys, key)
		}
	}
	return keys
}

// known returns the ids of the workspaces that have keys or are suspended, and contain a
// text, in order.
func (m *model) known(query string) []string {
	ids := slices.Collect(maps.Keys(m.workspaces))
	for _, key := range m.keys {
		ids = append(ids, key.WorkspaceID)
	}
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id string) bool {
		return !strings.Contains(strings.ToLower(id), strings.ToLower(query))
	})
}

// found returns the keys of all workspaces that a filter chooses.
func (m *model) found(filter apikey.KeyFilter, now time.Time) []apikey.Key {
	keys := []apikey.Key{}
	for _, ws := range m.known("") {
		keys = append(keys, m.listed(ws, filter, now)...)
	}
	return keys
}

func (m *model) trail(ws string) []apikey.Event {
	events := []apikey.Event{}
	for _, event := range slices.Backward(m.events) {
		if ws == "" || event.WorkspaceID == ws {
			events = append(events, event)
		}
	}
	return events
}
