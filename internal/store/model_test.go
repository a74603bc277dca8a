package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/doctor"
)

// model is what a store does, said as plainly as it can be: in memory, and by
// looking at everything each time.
type model struct {
	keys       []apikey.Key // in the order of their making
	workspaces map[string]apikey.Workspace
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
		key.RevokedAt, key.RevokedBy, key.RevokeReason = now, change.Actor, reason
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
		if key.Status(now) == apikey.Revoked {
			return apikey.Outcome{Key: *key, Unchanged: true}, nil
		}
		end(key, do.Reason)
		outcome.Key = *key
	case apikey.RevokeAll:
		for i := range m.keys {
			if key := &m.keys[i]; key.WorkspaceID == do.WorkspaceID && key.Status(now) == apikey.Active {
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
		first, revokes := key.LeakedAt.IsZero(), do.Revoke && key.Status(now) != apikey.Revoked
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

// Whatever is asked of a store, in whatever order, with time passing and the
// store closed and opened in between: it does what the model does.
func TestStore_doesWhatTheModelDoes(t *testing.T) {
	workspaces := []string{"a", "A", "ab"}
	tokens := []string{"sk_1", "sk_2", "sk_3"}
	names := []string{"Zapier", "ZAPIER", "Zаpier", "zapier 2", "Billing", "billing", "Nightly export"}
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		var told []apikey.Outcome
		open := func() *Store {
			s, err := Open(filepath.Join(dir, "keys"), zap.NewNop(), func(o apikey.Outcome) { told = append(told, o) })
			if err != nil {
				t.Fatalf("Open: got error %v, want a store", err)
			}
			return s
		}
		s := open()
		defer func() { _ = s.Close() }()

		m := &model{workspaces: map[string]apikey.Workspace{}}
		now := start
		marked := rapid.Bool().Draw(t, "with a confirmed time")
		workspace := rapid.SampledFrom(workspaces)
		status := rapid.SampledFrom([]apikey.Status{"", apikey.Active, apikey.Expired, apikey.Revoked})
		name := rapid.SampledFrom(names)
		someKey := func(t *rapid.T) apikey.Key {
			if len(m.keys) == 0 {
				t.Skip("no key")
			}
			return rapid.SampledFrom(m.keys).Draw(t, "key")
		}
		apply := func(t *rapid.T, do apikey.Action) {
			t.Helper()
			change := changeAt(now, do)
			want, wantErr := m.apply(change)
			told = nil
			got, err := s.Apply(t.Context(), change)
			if !errors.Is(err, wantErr) {
				t.Fatalf("Apply(%+v): got error %v, want %v", do, err, wantErr)
			}
			got.Event.Details, got.Propagation = nil, apikey.Propagation{}
			same(t, fmt.Sprintf("outcome of %+v", do), got, want)
			if (len(told) == 1) == want.Unchanged {
				t.Fatalf("%+v: got %d reports of it, want one: %t", do, len(told), !want.Unchanged)
			}
		}

		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				key := newKey(workspace.Draw(t, "workspace"), name.Draw(t, "name"), now)
				key.ExpiresAt = now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "days")) * day)
				key.Preset = rapid.SampledFrom([]apikey.Preset{apikey.FullAccess, apikey.ReadOnly}).Draw(t, "preset")
				apply(t, apikey.Create{Key: key, MaxActive: rapid.IntRange(0, 3).Draw(t, "most")})
			},
			"import": func(t *rapid.T) {
				var changes []apikey.Change
				for range rapid.IntRange(1, 4).Draw(t, "keys") {
					key := imported(rapid.SampledFrom(tokens).Draw(t, "token"), workspace.Draw(t, "workspace"), name.Draw(t, "name"), now)
					key.ExpiresAt = now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "days")) * day)
					change := changeAt(now, apikey.Import{Key: key})
					change.Unrecorded = rapid.Bool().Draw(t, "unrecorded")
					changes = append(changes, change)
				}
				told = nil
				got, err := s.ApplyAll(t.Context(), changes)
				if err != nil {
					t.Fatalf("ApplyAll: got error %v, want none", err)
				}
				events := 0
				for i, change := range changes {
					want, wantErr := m.apply(change)
					if !errors.Is(got[i].Err, wantErr) {
						t.Fatalf("%+v: got error %v, want %v", change.Do, got[i].Err, wantErr)
					}
					if wantErr == nil {
						got[i].Outcome.Event.Details, got[i].Outcome.Propagation = nil, apikey.Propagation{}
						same(t, fmt.Sprintf("outcome of %+v", change.Do), got[i].Outcome, want)
					}
					if !want.Unchanged && (wantErr == nil || !change.Unrecorded) {
						events++
					}
				}
				if len(told) != events {
					t.Fatalf("got %d reports, want %d", len(told), events)
				}
			},
			"rename": func(t *rapid.T) {
				key := someKey(t)
				apply(t, apikey.Update{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Name: new(name.Draw(t, "name"))})
			},
			"rotate": func(t *rapid.T) {
				key := someKey(t)
				do := rotation(key, now)
				do.Replacement.ExpiresAt = now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "days")) * day)
				if rapid.Bool().Draw(t, "with a name") {
					do.Replacement.Name = name.Draw(t, "name")
				}
				if rapid.Bool().Draw(t, "with an end") {
					do.RevokeOldAt = now.Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "end")) * day)
				}
				apply(t, do)
			},
			"revoke": func(t *rapid.T) {
				key := someKey(t)
				apply(t, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Reason: rapid.SampledFrom([]string{"", "left"}).Draw(t, "reason")})
			},
			"revoke all": func(t *rapid.T) {
				apply(t, apikey.RevokeAll{WorkspaceID: workspace.Draw(t, "workspace"), Reason: "left"})
			},
			"look up":            func(t *rapid.T) { apply(t, apikey.Lookup{Digest: someKey(t).Digest}) },
			"look up an unknown": func(t *rapid.T) { apply(t, apikey.Lookup{Digest: digestOf("unknown")}) },
			"expose": func(t *rapid.T) {
				key := someKey(t)
				apply(t, apikey.Expose{WorkspaceID: key.WorkspaceID, KeyID: key.ID})
			},
			"leak": func(t *rapid.T) {
				key := someKey(t)
				apply(t, apikey.Leak{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Source: "github", Revoke: rapid.Bool().Draw(t, "revoke")})
			},
			"in a workspace that may be another": func(t *rapid.T) {
				ws, id := workspace.Draw(t, "workspace"), someKey(t).ID
				apply(t, rapid.SampledFrom([]apikey.Action{
					apikey.Revoke{WorkspaceID: ws, KeyID: id},
					apikey.Update{WorkspaceID: ws, KeyID: id, Name: new("Billing")},
					rotation(apikey.Key{WorkspaceID: ws, ID: id}, now),
				}).Draw(t, "change"))
			},
			"suspend": func(t *rapid.T) {
				apply(t, apikey.Suspend{WorkspaceID: workspace.Draw(t, "workspace"), Reason: "unpaid"})
			},
			"resume": func(t *rapid.T) { apply(t, apikey.Resume{WorkspaceID: workspace.Draw(t, "workspace")}) },
			"settle": func(t *rapid.T) {
				if !marked {
					t.Skip("no time is confirmed")
				}
				if err := s.SettleEnds(t.Context(), now); err != nil {
					t.Fatalf("SettleEnds: got error %v, want none", err)
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 48).Draw(t, "hours")) * time.Hour)
				now = now.Add(rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Minute - time.Millisecond}).Draw(t, "more"))
				if !marked {
					return
				}
				if err := s.NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: now} }); err != nil {
					t.Fatalf("NoteClock: got error %v, want none", err)
				}
			},
			"use": func(t *rapid.T) {
				key := someKey(t)
				m.use(key.WorkspaceID, key.ID, now)
				if err := s.NoteUses(map[string]apikey.Use{key.ID: {At: now}}); err != nil {
					t.Fatalf("NoteUses: got error %v, want none", err)
				}
			},
			"count at another time": func(t *rapid.T) {
				if len(m.keys) == 0 {
					t.Skip("no key")
				}
				at := rapid.SampledFrom(m.interesting()).Draw(t, "time")
				if marked && at.Before(now) {
					at = now // nobody asks for a time before the confirmed one
				}
				sameCensus(t, s, m, at)
			},
			"reopen": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatalf("Close: got error %v, want none", err)
				}
				s = open()
			},
			"list": func(t *rapid.T) {
				ws := workspace.Draw(t, "workspace")
				filter := apikey.KeyFilter{Status: status.Draw(t, "status"), Query: rapid.SampledFrom([]string{"", "ZAP", "illin", "none"}).Draw(t, "query")}
				page := apikey.Page{Limit: rapid.IntRange(1, 4).Draw(t, "limit")}
				got := []apikey.Key{}
				for more := true; more; {
					keys, next, err := s.Keys(t.Context(), ws, filter, page, now)
					if err != nil {
						t.Fatalf("Keys: got error %v, want a page", err)
					}
					for _, key := range keys {
						got = append(got, *key)
					}
					page.After, more = next, next != ""
				}
				same(t, fmt.Sprintf("keys of %q with %+v", ws, filter), got, m.listed(ws, filter, now))
			},
			"find": func(t *rapid.T) {
				filter := apikey.KeyFilter{Status: status.Draw(t, "status"), Query: rapid.SampledFrom([]string{"", "ZAP", "illin", "none"}).Draw(t, "query")}
				if rapid.Bool().Draw(t, "ending soon") {
					filter.EndsBy = now.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "days")) * day)
				}
				page := apikey.Page{Limit: rapid.IntRange(1, 4).Draw(t, "limit")}
				got := []apikey.Key{}
				for more := true; more; {
					keys, next, err := s.FindKeys(t.Context(), filter, page, now)
					if err != nil {
						t.Fatalf("FindKeys: got error %v, want a page", err)
					}
					for _, key := range keys {
						got = append(got, *key)
					}
					page.After, more = next, next != ""
				}
				same(t, fmt.Sprintf("keys with %+v", filter), got, m.found(filter, now))
			},
			"list workspaces": func(t *rapid.T) {
				query := rapid.SampledFrom([]string{"", "a", "B", "none"}).Draw(t, "query")
				page := apikey.Page{Limit: rapid.IntRange(1, 2).Draw(t, "limit")}
				got := []string{}
				for more := true; more; {
					found, next, err := s.Workspaces(t.Context(), query, page)
					if err != nil {
						t.Fatalf("Workspaces: got error %v, want a page", err)
					}
					for _, ws := range found {
						same(t, "suspension of "+ws.ID, ws.SuspendedAt, m.workspaces[ws.ID].SuspendedAt)
						got = append(got, ws.ID)
					}
					page.After, more = next, next != ""
				}
				same(t, fmt.Sprintf("workspaces with %q", query), fmt.Sprint(got), fmt.Sprint(m.known(query)))
			},
			"": func(t *rapid.T) { agree(t, s, m, now, workspaces) },
		})
	})
}

// agree holds all that can be read from a store against the model.
func agree(t *rapid.T, s *Store, m *model, now time.Time, workspaces []string) {
	t.Helper()
	for _, want := range m.keys {
		want.FirstUsedAt, want.LastUsedAt = time.Time{}, time.Time{}
		got, err := s.Lookup(want.Digest)
		if err != nil {
			t.Fatalf("Lookup of %s: got error %v, want a key", want.ID, err)
		}
		same(t, "key", *got, want)
	}
	for _, ws := range append([]string{""}, workspaces...) {
		got := []apikey.Event{}
		for page := (apikey.Page{Limit: 5}); ; {
			events, next, err := s.Events(t.Context(), ws, page)
			if err != nil {
				t.Fatalf("Events: got error %v, want a page", err)
			}
			for _, event := range events {
				event.Details = nil
				got = append(got, event)
			}
			if page.After = next; next == "" {
				break
			}
		}
		same(t, fmt.Sprintf("events of %q", ws), got, m.trail(ws))
	}
	for _, ws := range workspaces {
		want := map[apikey.Status]int{apikey.Expired: 0, apikey.Revoked: 0}
		for _, key := range m.listed(ws, apikey.KeyFilter{}, now) {
			want[key.Status(now)]++
		}
		got, err := s.CountKeys(t.Context(), ws, now)
		if err != nil {
			t.Fatalf("CountKeys: got error %v, want counts", err)
		}
		same(t, fmt.Sprintf("counts of %q", ws), got, want)
	}
	for _, ws := range workspaces {
		sound(t, s, ws, now)
	}
	finding, err := s.checkRecords(t.Context())
	if err != nil || finding.Severity != doctor.Fine {
		t.Fatalf("the check of the records: got %q and error %v, want nothing", finding.Message, err)
	}
	for _, key := range m.keys {
		same(t, fmt.Sprintf("whether the store may have %s", key.ID), s.MayHave(key.Digest), true)
	}
	paused, err := s.SuspendedWorkspaces()
	if err != nil {
		t.Fatalf("SuspendedWorkspaces: got error %v, want a list", err)
	}
	slices.Sort(paused)
	same(t, "suspended workspaces", fmt.Sprint(paused), fmt.Sprint(slices.Sorted(maps.Keys(m.workspaces))))
	sameCensus(t, s, m, now)
}

func sameCensus(t *rapid.T, s *Store, m *model, now time.Time) {
	t.Helper()
	got, err := s.count(t.Context(), now)
	if err != nil {
		t.Fatalf("got error %v, want counts", err)
	}
	same(t, fmt.Sprintf("census at %v", now), got, m.census(now))
}

func same(t *rapid.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}
