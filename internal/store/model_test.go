package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/doctor"
)

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

		steps := 0
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
				m.confirmed = now
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
			"": func(t *rapid.T) { // what differs goes on differing, and all is read again each time
				if steps++; steps%4 == 0 {
					agree(t, s, m, now, workspaces)
				}
			},
		})
		agree(t, s, m, now, workspaces)
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
