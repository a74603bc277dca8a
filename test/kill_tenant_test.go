package test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// tenant is a workspace and its one client, which knows what it was told, and
// what it asked for without being told. It asks for one thing after another: so
// it is known to the letter what may be there after a kill, and in which order.
type tenant struct {
	t      *testing.T
	id     string
	api    *client.Client
	plain  string // the data plane's address
	chance *rand.Rand

	keys      map[string]client.Key // as they were answered last
	tokens    map[string]string     // by key id; of those that were answered
	used      map[string]bool       // the ids of the keys with which requests were made
	workspace client.Workspace      // as it was answered last, without the counts
	hasFeed   bool
	feed      string   // its path, if that was answered
	oldFeeds  []string // paths at which there is nothing any more

	trail []client.Event // oldest first, as it was read last
	told  []client.Event // changes that were acknowledged since, as far as their events are known
	doubt []client.Event // asked for, and never answered
}

func newTenant(s *server, id string, chance *rand.Rand) *tenant {
	return &tenant{
		t: s.T, id: id, plain: "http://" + s.Plain + contacts, chance: chance,
		api:  &client.Client{HTTP: &http.Client{Transport: new(http.Transport)}, BaseURL: s.Keys().BaseURL},
		keys: make(map[string]client.Key), tokens: make(map[string]string), used: make(map[string]bool),
		workspace: client.Workspace{ID: id},
	}
}

// weightedCall is something that a client may ask for, with its share in all that it does.
type weightedCall struct {
	weight int
	do     func(*tenant) error
}

// choose returns one of the calls, by their weights.
func (w *tenant) choose(calls []weightedCall) func(*tenant) error {
	var tickets []int
	for i, call := range calls {
		for range call.weight {
			tickets = append(tickets, i)
		}
	}
	return calls[one(w, tickets...)].do
}

// errWrong is an answer that there should not have been.
var errWrong = errors.New("the answer is wrong")

// answered reports whether an error is an answer, and not the end of the server.
func answered(err error) bool {
	return codeOf(err) != "" || errors.Is(err, client.ErrNotServed) || errors.Is(err, errWrong)
}

// begin notes what is about to be asked for: the events that are to come of it.
func (w *tenant) begin(events ...client.Event) { w.doubt = events }

// done notes that what was begun has been acknowledged.
func (w *tenant) done() { w.told, w.doubt = append(w.told, w.doubt...), nil }

// event returns what is known beforehand of an event, with details, name and
// value in turn.
func event(operation, keyID string, details ...string) client.Event {
	e := client.Event{Operation: operation, KeyID: keyID, Details: make(map[string]any)}
	for i := 0; i < len(details); i += 2 {
		e.Details[details[i]] = details[i+1]
	}
	return e
}

// comesOf reports whether an event is of a change of which so much was known
// beforehand.
func comesOf(e, change client.Event) bool {
	if e.Operation != change.Operation || change.KeyID != "" && e.KeyID != change.KeyID || (e.Details["refused"] == nil) != (change.Details["refused"] == nil) {
		return false
	}
	for detail, value := range change.Details {
		if e.Details[detail] != value {
			return false
		}
	}
	return true
}

// some returns the ids of the keys that a client may choose from, in order.
func (w *tenant) some(choose func(client.Key) bool) (ids []string) {
	for _, id := range slices.Sorted(maps.Keys(w.keys)) {
		if choose(w.keys[id]) {
			ids = append(ids, id)
		}
	}
	return ids
}

func active(key client.Key) bool { return key.Status == "active" }

// rotatable returns the ids of the keys that have no replacement, and not as many
// keys before them still as would be too many.
func (w *tenant) rotatable() []string {
	return w.some(func(key client.Key) bool {
		before := 0
		for k := key; k.Replaces != nil; {
			if k = w.keys[*k.Replaces]; active(k) {
				before++
			}
		}
		return active(key) && key.ReplacedBy == nil && before < 2
	})
}

// freeName returns a name that no active key has, but ended ones may have had.
func (w *tenant) freeName() string {
	taken := make(map[string]bool)
	for _, id := range w.some(active) {
		taken[w.keys[id].Name] = true
	}
	for {
		if name := fmt.Sprintf("Worker number %d", w.chance.IntN(4*maxActive)); !taken[name] {
			return name
		}
	}
}

// one returns any of what there is to choose from.
func one[T any](w *tenant, of ...T) T { return of[w.chance.IntN(len(of))] }

// expectation returns the status that a request with a key must get.
func (w *tenant) expectation(key client.Key) int {
	switch {
	case !active(key):
		return http.StatusUnauthorized
	case w.workspace.Suspended:
		return http.StatusForbidden
	}
	return http.StatusOK
}
