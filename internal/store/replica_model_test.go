package store

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Whatever is asked of a fleet, on whichever replica, some of which lag or restart, and
// with changes planned one by one or together: it does what a store of its own does.
func TestReplicas_doWhatAStoreDoes(t *testing.T) {
	workspaces := []string{"acme", "globex", "many"}
	many := backupOfMany(t)
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		plain, err := Open(filepath.Join(dir, "keys"), zap.NewNop(), nil)
		if err != nil {
			t.Fatalf("Open: got error %v, want a store", err)
		}
		defer plain.Close()
		p := &pair{plain: plain, fleet: newFleet(t, dir, rapid.SampledFrom([]int{2, 2, 2, 3}).Draw(t, "replicas"), nil), lives: map[string]millis{}}
		defer func() {
			for _, s := range p.fleet.replicas {
				_ = s.Close()
			}
		}()
		p.moveTo(t, start)

		name := rapid.SampledFrom([]string{"Zapier", "ZAPIER", "Billing"})
		workspace := rapid.SampledFrom(workspaces[:2])
		expiry := func(t *rapid.T) time.Time {
			return p.now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "days")) * day)
		}
		restoredMany := rapid.IntRange(0, 9).Draw(t, "with many keys") < 9 // which takes long
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				key := newKey(workspace.Draw(t, "workspace"), name.Draw(t, "name"), p.now)
				key.ExpiresAt = expiry(t)
				p.keys = append(p.keys, key)
				p.apply(t, apikey.Create{Key: key, MaxActive: rapid.IntRange(0, 2).Draw(t, "most")})
			},
			"create, and unrecorded if refused": func(t *rapid.T) {
				key := newKey(workspace.Draw(t, "workspace"), name.Draw(t, "name"), p.now)
				p.keys = append(p.keys, key)
				change := changeAt(p.now, apikey.Create{Key: key, MaxActive: 1})
				change.Unrecorded = true
				p.change(t, change)
			},
			"import": func(t *rapid.T) {
				token := rapid.SampledFrom([]string{"sk_1", "sk_2"}).Draw(t, "token")
				key := imported(token, workspace.Draw(t, "workspace"), name.Draw(t, "name"), p.now)
				key.ExpiresAt = expiry(t)
				p.keys = append(p.keys, key)
				change := changeAt(p.now, apikey.Import{Key: key})
				change.Unrecorded = true
				p.change(t, change)
			},
			"import several": func(t *rapid.T) {
				var changes []apikey.Change
				for range rapid.IntRange(1, 3).Draw(t, "keys") {
					token := rapid.SampledFrom([]string{"sk_1", "sk_2", "sk_3"}).Draw(t, "token")
					key := imported(token, workspace.Draw(t, "workspace"), name.Draw(t, "name"), p.now)
					p.keys = append(p.keys, key)
					change := changeAt(p.now, apikey.Import{Key: key})
					change.Unrecorded = true
					changes = append(changes, change)
				}
				p.both(t, "imported", func(s *Store) (any, error) {
					results, err := s.ApplyAll(t.Context(), changes)
					for i := range results {
						results[i].Outcome.Propagation, results[i].Outcome.Event.ID = apikey.Propagation{}, ""
					}
					return results, err
				})
			},
			"rename": func(t *rapid.T) {
				key := p.key(t)
				p.apply(t, apikey.Update{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Name: new(name.Draw(t, "name"))})
			},
			"rotate": func(t *rapid.T) {
				do := rotation(p.key(t), p.now)
				do.Replacement.ExpiresAt = expiry(t)
				if rapid.Bool().Draw(t, "with an end") {
					do.RevokeOldAt = p.now.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "end")) * day)
				}
				key := do.Replacement
				key.WorkspaceID = do.WorkspaceID
				p.keys = append(p.keys, key)
				p.apply(t, do)
			},
			"revoke": func(t *rapid.T) {
				key := p.key(t)
				p.apply(t, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Reason: "left"})
			},
			"revoke all": func(t *rapid.T) {
				p.alone(t, apikey.RevokeAll{WorkspaceID: rapid.SampledFrom(workspaces).Draw(t, "workspace"), Reason: "left"})
			},
			"expose": func(t *rapid.T) {
				key := p.key(t)
				p.apply(t, apikey.Expose{WorkspaceID: key.WorkspaceID, KeyID: key.ID})
			},
			"leak": func(t *rapid.T) {
				key := p.key(t)
				p.apply(t, apikey.Leak{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Source: "github", Revoke: rapid.Bool().Draw(t, "revoke")})
			},
			"look up":            func(t *rapid.T) { p.apply(t, apikey.Lookup{Digest: p.key(t).Digest}) },
			"look up an unknown": func(t *rapid.T) { p.apply(t, apikey.Lookup{Digest: digestOf("unknown")}) },
			"suspend": func(t *rapid.T) {
				p.apply(t, apikey.Suspend{WorkspaceID: workspace.Draw(t, "workspace"), Reason: "unpaid", Own: rapid.Bool().Draw(t, "own")})
			},
			"resume": func(t *rapid.T) {
				p.apply(t, apikey.Resume{WorkspaceID: workspace.Draw(t, "workspace"), Own: rapid.Bool().Draw(t, "own")})
			},
			"open a feed": func(t *rapid.T) {
				p.apply(t, apikey.OpenFeed{WorkspaceID: workspace.Draw(t, "workspace"), Digest: apikey.NewFeedToken().Digest()})
			},
			"close a feed": func(t *rapid.T) { p.apply(t, apikey.CloseFeed{WorkspaceID: workspace.Draw(t, "workspace")}) },
			"wait": func(t *rapid.T) {
				p.flush(t)
				p.moveTo(t, p.now.Add(time.Duration(rapid.IntRange(0, 72).Draw(t, "hours"))*time.Hour))
			},
			"settle": func(t *rapid.T) {
				p.flush(t)
				p.settle(t)
			},
			"set the clock back": func(t *rapid.T) {
				p.flush(t)
				p.settle(t) // as happens every minute
				right := p.now.Add(-time.Duration(rapid.IntRange(1, 6).Draw(t, "days")) * day)
				p.alone(t, apikey.TrustClock{Clock: apikey.ClockReading{Machine: right, Confirmed: p.now, Judged: p.now}, Reason: "NTP"})
				p.moveTo(t, right)
				p.settle(t)
			},
			"forget": func(t *rapid.T) {
				before := p.now.Add(-time.Duration(rapid.IntRange(0, 4).Draw(t, "days")) * day)
				p.both(t, "forgotten keys", func(s *Store) (any, error) { return s.ForgetKeys(t.Context(), before, p.now) })
				p.both(t, "forgotten feeds", func(s *Store) (any, error) { return s.ForgetFeeds(t.Context(), before, p.now) })
				p.both(t, "forgotten events", func(s *Store) (any, error) { return s.ForgetEvents(t.Context(), before, p.now) })
			},
			"back up": func(t *rapid.T) {
				var backup [2][]byte
				n := 0
				p.both(t, "backup", func(s *Store) (any, error) {
					file, err := s.Backup(t.Context(), p.now)
					if err != nil {
						return nil, err
					}
					defer file.Close()
					backup[n], err = io.ReadAll(file)
					n++
					return nil, err
				})
				p.backups = append(p.backups, backup)
			},
			"restore": func(t *rapid.T) {
				if len(p.backups) == 0 {
					t.Skip("no backup")
				}
				p.restore(t, p.backups[rapid.IntRange(0, len(p.backups)-1).Draw(t, "backup")], rapid.Bool().Draw(t, "in quarantine"))
			},
			"restore many": func(t *rapid.T) {
				if restoredMany {
					t.Skip("they are there, or not wanted")
				}
				restoredMany = true
				p.restore(t, [2][]byte{many, many}, false)
			},
			"lag": func(t *rapid.T) {
				s := p.replica(t)
				p.fleet.lagging[s] = !p.fleet.lagging[s]
			},
			"reload": func(t *rapid.T) {
				p.flush(t)
				from, to := p.replica(t), p.replica(t)
				if err := p.fleet.catchUp(t.Context(), from); err != nil {
					t.Fatalf("Replay: got error %v, want none", err)
				}
				mustReload(t, to, recordsOf(t, from), p.fleet.head())
			},
			"reopen": func(t *rapid.T) {
				p.flush(t)
				p.fleet.reopen(t, rapid.IntRange(0, len(p.fleet.replicas)-1).Draw(t, "replica"))
			},
			"": func(t *rapid.T) { p.holdEnds(t) },
		})
		p.agree(t, workspaces)
	})
}
