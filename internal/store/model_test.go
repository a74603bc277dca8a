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
)

// model is what a store does, said as plainly as it can be: in memory, and by
// looking at everything each time.
type model struct {
	keys       []apikey.Key // in the order of their making
	workspaces map[string]apikey.Workspace
	events     []apikey.Event // without details
}

func (m *model) apply(change apikey.Change) (outcome apikey.Outcome, err error) {
	event := apikey.Event{ID: change.EventID, At: change.At, Actor: change.Actor, RemoteIP: change.RemoteIP, Operation: change.Do.Operation()}
	switch do := change.Do.(type) {
	case apikey.Create:
		active := 0
		for _, key := range m.keys {
			if key.WorkspaceID != do.Key.WorkspaceID || key.Status(change.At) != apikey.Active {
				continue
			}
			if strings.EqualFold(key.Name, do.Key.Name) {
				return outcome, apikey.ErrNameTaken
			}
			active++
		}
		if do.MaxActive > 0 && active >= do.MaxActive {
			return outcome, apikey.ErrTooManyKeys
		}
		m.keys = append(m.keys, do.Key)
		outcome = apikey.Outcome{Key: do.Key, Stale: []apikey.Digest{do.Key.Digest}}
		event.WorkspaceID, event.KeyID = do.Key.WorkspaceID, do.Key.ID
	case apikey.Revoke:
		i := slices.IndexFunc(m.keys, func(k apikey.Key) bool { return k.ID == do.KeyID && k.WorkspaceID == do.WorkspaceID })
		if i < 0 {
			return outcome, apikey.ErrNotFound
		}
		key := &m.keys[i]
		if !key.RevokedAt.IsZero() {
			return apikey.Outcome{Key: *key, Unchanged: true}, nil
		}
		key.RevokedAt, key.RevokedBy, key.RevokeReason = change.At, change.Actor, do.Reason
		outcome = apikey.Outcome{Key: *key, Stale: []apikey.Digest{key.Digest}}
		event.WorkspaceID, event.KeyID = key.WorkspaceID, key.ID
	case apikey.Suspend:
		if ws, ok := m.workspaces[do.WorkspaceID]; ok {
			return apikey.Outcome{Workspace: ws, Unchanged: true}, nil
		}
		outcome.Workspace = apikey.Workspace{ID: do.WorkspaceID, SuspendedAt: change.At, Reason: do.Reason}
		m.workspaces[do.WorkspaceID] = outcome.Workspace
		event.WorkspaceID = do.WorkspaceID
	case apikey.Resume:
		outcome.Workspace = apikey.Workspace{ID: do.WorkspaceID}
		if _, ok := m.workspaces[do.WorkspaceID]; !ok {
			outcome.Unchanged = true
			return outcome, nil
		}
		delete(m.workspaces, do.WorkspaceID)
		event.WorkspaceID = do.WorkspaceID
	}
	m.events = append(m.events, event)
	return outcome, nil
}

// listed returns the keys of a workspace that a filter chooses, newest first.
func (m *model) listed(ws string, filter apikey.KeyFilter, now time.Time) []apikey.Key {
	keys := []apikey.Key{}
	for _, key := range slices.Backward(m.keys) {
		if key.WorkspaceID == ws && (filter.Status == "" || key.Status(now) == filter.Status) &&
			strings.Contains(strings.ToLower(key.Name), strings.ToLower(filter.Query)) {
			keys = append(keys, key)
		}
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
	names := []string{"Zapier", "ZAPIER", "zapier 2", "Billing", "billing", "Nightly export"}
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
		workspace := rapid.SampledFrom(workspaces)
		status := rapid.SampledFrom([]apikey.Status{"", apikey.Active, apikey.Expired, apikey.Revoked})
		apply := func(t *rapid.T, do apikey.Action) {
			t.Helper()
			change := changeAt(now, do)
			want, wantErr := m.apply(change)
			told = nil
			got, err := s.Apply(t.Context(), change)
			if !errors.Is(err, wantErr) {
				t.Fatalf("Apply(%+v): got error %v, want %v", do, err, wantErr)
			}
			same(t, fmt.Sprintf("outcome of %+v", do), got, want)
			if wantTold := err == nil && !want.Unchanged; (len(told) == 1) != wantTold {
				t.Fatalf("%+v: got %d reports of it, want one: %t", do, len(told), wantTold)
			}
		}

		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				key := newKey(workspace.Draw(t, "workspace"), rapid.SampledFrom(names).Draw(t, "name"), now)
				key.ExpiresAt = now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "days")) * day)
				apply(t, apikey.Create{Key: key, MaxActive: rapid.IntRange(0, 3).Draw(t, "most")})
			},
			"revoke": func(t *rapid.T) {
				if len(m.keys) == 0 {
					t.Skip("no key")
				}
				key := rapid.SampledFrom(m.keys).Draw(t, "key")
				apply(t, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Reason: rapid.SampledFrom([]string{"", "left"}).Draw(t, "reason")})
			},
			"revoke in a workspace": func(t *rapid.T) {
				if len(m.keys) == 0 {
					t.Skip("no key")
				}
				apply(t, apikey.Revoke{WorkspaceID: workspace.Draw(t, "workspace"), KeyID: rapid.SampledFrom(m.keys).Draw(t, "key").ID})
			},
			"suspend": func(t *rapid.T) {
				apply(t, apikey.Suspend{WorkspaceID: workspace.Draw(t, "workspace"), Reason: "unpaid"})
			},
			"resume": func(t *rapid.T) { apply(t, apikey.Resume{WorkspaceID: workspace.Draw(t, "workspace")}) },
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 48).Draw(t, "hours")) * time.Hour)
			},
			"reopen": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatalf("Close: got error %v, want none", err)
				}
				s = open()
			},
			"list": func(t *rapid.T) {
				ws := workspace.Draw(t, "workspace")
				filter := apikey.KeyFilter{Status: status.Draw(t, "status"), Query: rapid.SampledFrom([]string{"", "ZAP", "i", "none"}).Draw(t, "query")}
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
			"": func(t *rapid.T) { agree(t, s, m, now, workspaces) },
		})
	})
}

// agree holds all that can be read from a store against the model.
func agree(t *rapid.T, s *Store, m *model, now time.Time, workspaces []string) {
	t.Helper()
	for _, want := range m.keys {
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
		want := map[apikey.Status]int{}
		for _, key := range m.listed(ws, apikey.KeyFilter{}, now) {
			want[key.Status(now)]++
		}
		got, err := s.CountKeys(t.Context(), ws, now)
		if err != nil {
			t.Fatalf("CountKeys: got error %v, want counts", err)
		}
		same(t, fmt.Sprintf("counts of %q", ws), got, want)
	}
	paused, err := s.SuspendedWorkspaces()
	if err != nil {
		t.Fatalf("SuspendedWorkspaces: got error %v, want a list", err)
	}
	slices.Sort(paused)
	same(t, "suspended workspaces", fmt.Sprint(paused), fmt.Sprint(slices.Sorted(maps.Keys(m.workspaces))))
}

func same(t *rapid.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}
