package test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// check looks at what there is after a kill: in the workspaces at work, and in
// the numbers and the audit trail of all. With everything it tries each key, and
// otherwise those that the latest changes were about.
func (o *crashTest) check(everything bool) {
	o.T.Helper()
	var fresh []client.Event
	for _, w := range o.tenants {
		if len(w.told)+len(w.doubt) == 0 && !everything {
			continue // an event that nobody asked for is one too many for all
		}
		before := len(w.trail)
		o.doubtful += len(w.doubt)
		made, err := w.reconcile()
		if err != nil {
			o.T.Errorf("%s: %v", w.id, err)
			continue
		}
		o.made += made
		fresh = append(fresh, w.trail[before:]...)
	}
	if o.T.Failed() {
		return // the rest would only say so once more
	}
	o.checkTrail(fresh)
	o.checkNumbers()
	var clients sync.WaitGroup
	for _, w := range o.atWork {
		about := w.about(fresh)
		if everything {
			about = slices.Sorted(maps.Keys(w.keys))
		}
		clients.Go(func() {
			if err := w.tryOut(about); err != nil {
				o.T.Errorf("%s: %v", w.id, err)
			}
		})
	}
	clients.Wait()
}

// checkTrail wants that the audit trail of all has the events of each workspace,
// and no others.
func (o *crashTest) checkTrail(fresh []client.Event) {
	o.T.Helper()
	slices.SortFunc(fresh, func(a, b client.Event) int { return strings.Compare(a.ID, b.ID) })
	got, err := trailSince(o.Keys(), o.T.Context(), "", o.lastEvent)
	must(o.T, err)
	if err := wantEvents(got, fresh); err != nil {
		o.T.Errorf("the audit trail of all workspaces together: %v", err)
	}
	if len(got) > 0 {
		o.lastEvent = got[len(got)-1].ID
	}
}

// checkNumbers wants that the metrics count the keys that the lists have.
func (o *crashTest) checkNumbers() {
	o.T.Helper()
	want := map[string]float64{"caddy_api_keys_suspended_workspaces": 0, `caddy_api_keys_expiring_keys{within="30d"}`: 0}
	for _, status := range []string{"active", "revoked", "expired"} {
		for _, preset := range []string{"full_access", "read_only"} {
			want[keysSeries(status, preset)] = 0
		}
	}
	month := time.Now().Add(30 * 24 * time.Hour)
	for _, w := range o.tenants {
		if w.workspace.Suspended {
			want["caddy_api_keys_suspended_workspaces"]++
		}
		for _, key := range w.keys {
			want[keysSeries(key.Status, key.Preset)]++
			if active(key) && (key.ExpiresAt.Before(month) || key.RevokesAt != nil) {
				want[`caddy_api_keys_expiring_keys{within="30d"}`]++
			}
		}
	}
	got := o.metrics()
	for series, n := range want {
		if value, ok := got[series]; !ok || value != n {
			o.T.Errorf("got %s %v, want %v", series, value, n)
		}
	}
}

func keysSeries(status, preset string) string {
	return fmt.Sprintf("caddy_api_keys_keys{preset=%q,status=%q}", preset, status)
}

func (o *crashTest) keyCount() (n int) {
	for _, w := range o.tenants {
		n += len(w.keys)
	}
	return n
}

// about returns the ids of a workspace's keys that events are about.
func (w *tenant) about(events []client.Event) []string {
	ids := make(map[string]bool)
	for _, e := range events {
		ids[e.KeyID], ids[text(e, "replaced_by")] = true, true
		all, _ := e.Details["key_ids"].([]any)
		for _, id := range all {
			ids[fmt.Sprint(id)] = true
		}
	}
	return w.some(func(key client.Key) bool { return ids[key.ID] })
}
