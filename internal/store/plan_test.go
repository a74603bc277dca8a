package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func changesAtStart(actions ...apikey.Action) (changes []apikey.Change) {
	for _, do := range actions {
		changes = append(changes, changeAt(start, do))
	}
	return changes
}

func mustPlan(t *testing.T, s *Store, most int, changes ...apikey.Change) apikey.Plan {
	t.Helper()
	plan, err := s.Plan(changes, most)
	if err != nil {
		t.Fatalf("Plan: got error %v, want a plan", err)
	}
	return plan
}

// wantResults compares the errors of a plan's results with the wanted ones.
func wantResults(t *testing.T, results []apikey.Planned, want ...error) {
	t.Helper()
	if len(results) != len(want) {
		t.Fatalf("got %d results, want %d", len(results), len(want))
	}
	for i, result := range results {
		if !errors.Is(result.Err, want[i]) {
			t.Errorf("change %d: got error %v, want %v", i, result.Err, want[i])
		}
	}
}

// A plan changes nothing, says what it would write, and in which order.
func TestPlan(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	old := mustCreate(t, s, "acme", "Zapier", start)
	before := contents(t, s)

	do := rotation(old, start)
	plan := mustPlan(t, s, 100, changesAtStart(do, apikey.Lookup{Digest: digestOf("unknown")})...)
	wantResults(t, plan.Results, nil, apikey.ErrNotFound)
	equal(t, "the store", contents(t, s), before)
	equal(t, "on", plan.On, log.head())
	equal(t, "ends", plan.Ends, false)
	var written []string
	for _, r := range plan.Records {
		written = append(written, fmt.Sprintf("%c %s", r.Kind, r.ID))
	}
	rotated, refused := plan.Results[0].Outcome.Event.ID, plan.Results[1].Outcome.Event.ID
	equal(t, "records", written, []string{"k " + old.ID, "k " + do.Replacement.ID, "a " + rotated, "a " + refused})
	equal(t, "the last event", plan.LastEvent, refused)

	nothing := mustPlan(t, s, 100)
	equal(t, "results of no changes", len(nothing.Results)+len(nothing.Records), 0)
}

// Changes that are planned together see each other.
func TestPlan_together(t *testing.T) {
	create := func(name string, most int) apikey.Create {
		return apikey.Create{Key: newKey("acme", name, start), MaxActive: most}
	}
	key := newKey("acme", "Zapier", start)
	for _, test := range []struct {
		name    string
		actions []apikey.Action
		want    []error
		ends    bool
	}{
		{"two of one name", []apikey.Action{create("Zapier", 0), create("ZAPIER", 0)}, []error{nil, apikey.ErrNameTaken}, false},
		{"one too many", []apikey.Action{create("One", 2), create("Two", 2), create("Three", 2)}, []error{nil, nil, apikey.ErrTooManyKeys}, false},
		{"a name that becomes free", []apikey.Action{
			apikey.Create{Key: key}, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID}, create("Zapier", 0),
		}, []error{nil, nil, nil}, true},
		{"two rotations", []apikey.Action{apikey.Create{Key: key}, rotation(key, start), rotation(key, start)}, []error{nil, nil, apikey.ErrAlreadyRotated}, false},
		{"suspended and resumed", []apikey.Action{apikey.Suspend{WorkspaceID: "acme"}, apikey.Resume{WorkspaceID: "acme"}}, []error{nil, nil}, true},
		{"two feeds", []apikey.Action{
			apikey.OpenFeed{WorkspaceID: "acme", Digest: digestOf("a")}, apikey.OpenFeed{WorkspaceID: "acme", Digest: digestOf("b")},
		}, []error{nil, nil}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := openFleet(t, 2)
			changes := changesAtStart(test.actions...)
			changes[0], changes[1] = changes[1], changes[0] // their events are in another order than they were begun
			changes[0].Do, changes[1].Do = changes[1].Do, changes[0].Do
			results, err := log.commit(t.Context(), log.replicas[0], changes...)
			if err != nil {
				t.Fatalf("commit: got error %v, want none", err)
			}
			wantResults(t, results, test.want...)
			equal(t, "entries of the log", len(log.entries), 1)
			equal(t, "ends", log.entries[0].ends, test.ends)
			last := ""
			for i, result := range results {
				if result.Outcome.Event.ID <= last {
					t.Errorf("the event %d: got the id %s, want a later one than %s", i, result.Outcome.Event.ID, last)
				}
				last = result.Outcome.Event.ID
			}
			equal(t, "the last event of the head", log.head().LastEvent, last)
			sameRecords(t, "the replicas", recordsOf(t, log.replicas[1]), recordsOf(t, log.replicas[0]))
			for _, s := range log.replicas {
				soundRecords(t, s)
			}
		})
	}
}

// A hundred keys are planned together, up to the maximum of their workspace.
func TestPlan_maxActive(t *testing.T) {
	log := openFleet(t, 1)
	var actions []apikey.Action
	for i := range 100 {
		actions = append(actions, apikey.Create{Key: newKey("acme", fmt.Sprint("Key ", i), start), MaxActive: 60})
	}
	plan := mustPlan(t, log.replicas[0], 1000, changesAtStart(actions...)...)
	created := 0
	for i, result := range plan.Results {
		if result.Err == nil {
			created++
		} else if !errors.Is(result.Err, apikey.ErrTooManyKeys) || i < 60 {
			t.Errorf("change %d: got error %v, want the first 60 keys", i, result.Err)
		}
	}
	equal(t, "results, created, records", []int{len(plan.Results), created, len(plan.Records)}, []int{100, 60, 160})
}

// A plan has as many of the changes, from the first on, as write no more than allowed and
// fit into a transaction, but at least one.
func TestPlan_split(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	var few, large []apikey.Action
	for i := range 16 {
		few = append(few, apikey.Create{Key: newKey("acme", fmt.Sprint("Key ", i), start)})
		key := newKey("globex", fmt.Sprint("Key ", i), start)
		key.Owner = strings.Repeat("x", 200_000) // written three times, so that two fit into a transaction
		large = append(large, apikey.Create{Key: key})
	}
	for _, test := range []struct {
		name    string
		actions []apikey.Action
		most    int
		want    int
	}{
		{"all", few, 32, 16},
		{"half", few, 31, 8},
		{"at least one", few, 0, 1},
		{"what fits into a transaction", large, 1000, 2},
	} {
		plan := mustPlan(t, s, test.most, changesAtStart(test.actions...)...)
		wantResults(t, plan.Results, make([]error, test.want)...)
		equal(t, test.name+": records", len(plan.Records), 2*test.want)
	}
	tooLarge := newKey("acme", "Too large", start)
	tooLarge.Owner = strings.Repeat("x", 600_000)
	plan := mustPlan(t, s, 100, changesAtStart(apikey.Create{Key: tooLarge}, few[0])...)
	wantResults(t, plan.Results, apikey.ErrStoreUnavailable)
	equal(t, "records of what fits into no transaction", len(plan.Records), 0)
}

// A change that cannot be planned fails alone.
func TestPlan_damagedRecord(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	damaged, other := mustCreate(t, s, "acme", "Zapier", start), mustCreate(t, s, "acme", "Billing", start)
	s.replica = false // which would not let it be damaged
	plant(t, s, recordKey(damaged.ID), []byte("{}"))
	s.replica = true
	ends := func(key apikey.Key) apikey.Action { return apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID} }
	plan := mustPlan(t, s, 100, changesAtStart(
		ends(damaged), ends(other), rotation(damaged, start), apikey.Create{Key: newKey("acme", "Billing", start)},
	)...)
	wantResults(t, plan.Results, apikey.ErrStoreUnavailable, nil, apikey.ErrStoreUnavailable, nil)
	equal(t, "records", len(plan.Records), 4)
}

// A store that cannot be read plans nothing.
func TestPlan_closed(t *testing.T) {
	s := openFleet(t, 1).replicas[0]
	closeStore(t, s)
	_, err := s.Plan(changesAtStart(apikey.Suspend{WorkspaceID: "acme"}), 100)
	isUnavailable(t, "Plan", err)
}
