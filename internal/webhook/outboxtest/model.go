package outboxtest

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// Model makes random changes, lets time pass, restarts the gateway and delivers some of the
// messages, and checks that each receiver got exactly those that are due, in their order for
// each key. The seed says which.
func Model(t *testing.T, g Gateways, seed uint64, steps int) {
	m := &model{
		box:  &box{Box: g.Open(t), gateways: g, now: time.Now().UTC().Truncate(time.Millisecond)},
		rand: rand.New(rand.NewPCG(seed, 0)), keys: make(map[string]*apikey.Key), want: make(map[about][]string), got: make(map[about][]string),
	}
	m.receive(t, everything, ends)
	m.announceDue(t)
	for range steps {
		m.step(t)
	}
	m.announceDue(t)
	m.wantPending(t)
	m.deliver(t, 1)
	for subject, want := range m.want {
		if got := m.got[subject]; !slices.Equal(got, want) {
			t.Errorf("seed %d: messages to %s about %s: got %q, want %q", seed, subject.receiver, subject.id, got, want)
		}
	}
	for subject, got := range m.got {
		if m.want[subject] == nil {
			t.Errorf("seed %d: messages to %s about %s: got %q, want none", seed, subject.receiver, subject.id, got)
		}
	}
}

// model is what messages there should be, said as plainly as it can be.
type model struct {
	*box
	rand      *rand.Rand
	announced time.Time // when it was last announced what was due
	ids       []string  // of all keys
	keys      map[string]*apikey.Key
	want, got map[about][]string
}

type about struct{ receiver, id string }

// tell expects a message to each receiver that takes its type.
func (m *model) tell(typ webhook.Type, says, id string) {
	for _, r := range m.receivers {
		if r.Takes(typ) {
			m.want[about{r.ID, id}] = append(m.want[about{r.ID, id}], says)
		}
	}
}

// window returns the shortest window of a receiver that a key is in which ends at a time.
func (m *model) window(r webhook.Receiver, end time.Time) (in webhook.Window, ok bool) {
	for _, w := range r.Expiring {
		if end.Sub(m.now) <= w.Before && (!ok || w.Before < in.Before) {
			in, ok = w, true
		}
	}
	return in, ok
}

// begin expects what is told of a new key that is in windows from the beginning.
func (m *model) begin(key apikey.Key) {
	m.add(key)
	for _, r := range m.receivers {
		if w, in := m.window(r, key.ExpiresAt); in {
			m.want[about{r.ID, key.ID}] = append(m.want[about{r.ID, key.ID}], "expiring "+w.Within)
		}
	}
}

func (m *model) add(key apikey.Key) {
	m.keys[key.ID] = &key
	m.ids = append(m.ids, key.ID)
}

// announceDue has announced, and expects, what is due.
func (m *model) announceDue(t *testing.T) {
	m.announce(t)
	for _, key := range m.keys {
		end := key.ActiveUntil()
		scheduled := key.Status(end) == apikey.Revoked
		switch {
		case !key.RevokedAt.IsZero():
		case !end.After(m.now):
			if !end.After(m.announced) {
				continue
			}
			if scheduled {
				m.tell(webhook.KeyRevoked, "revoked", key.ID)
			} else {
				m.tell(webhook.KeyExpired, "expired", key.ID)
			}
		case !scheduled:
			for _, r := range m.receivers {
				if w, in := m.window(r, end); in && end.After(m.announced.Add(w.Before)) {
					m.want[about{r.ID, key.ID}] = append(m.want[about{r.ID, key.ID}], "expiring "+w.Within)
				}
			}
		}
	}
	m.announced = m.now
}

// deliver takes a part of the messages.
func (m *model) deliver(t *testing.T, part float64) {
	for _, r := range m.receivers {
		var done []webhook.Message
		held := make(map[string]bool) // what follows one that is left
		for _, message := range m.pending(t, r) {
			if held[message.Subject] || m.rand.Float64() >= part {
				held[message.Subject] = true
				continue
			}
			done = append(done, message)
			subject := about{r.ID, message.Subject}
			m.got[subject] = append(m.got[subject], says(t, message))
		}
		if err := m.Done(t.Context(), done...); err != nil {
			t.Fatalf("Done: got error %v, want none", err)
		}
		m.wantCount(t, r, m.due(r))
	}
}

// due returns how many messages to a receiver should be pending.
func (m *model) due(r webhook.Receiver) int {
	expected := 0
	for subject, want := range m.want {
		if subject.receiver == r.ID {
			expected += len(want)
		}
	}
	for subject, got := range m.got {
		if subject.receiver == r.ID {
			expected -= len(got)
		}
	}
	return expected
}

func (m *model) pick(of []time.Duration) time.Duration { return of[m.rand.IntN(len(of))] }

func (m *model) workspace() string { return []string{"acme", "beta", "Beta"}[m.rand.IntN(3)] }

// try makes a change that may be refused.
func (m *model) try(t *testing.T, do apikey.Action) (outcome apikey.Outcome, done bool) {
	outcome, err := m.Apply(t.Context(), apikey.Change{EventID: apikey.NewEventID(m.now), At: m.now, Actor: "tester", Do: do})
	if _, refused := errors.AsType[*apikey.Error](err); err != nil && (!refused || errors.Is(err, apikey.ErrStoreUnavailable)) {
		t.Fatalf("%T: got error %v, want none", do, err)
	}
	return outcome, err == nil && !outcome.Unchanged
}

var (
	lives  = []time.Duration{time.Hour, day, 2 * day, 3 * day, 4 * day, 13 * day, 20 * day, 31 * day, 60 * day}
	pauses = []time.Duration{time.Hour, 6 * time.Hour, day, 2 * day, 5 * day, 16 * day}
	spans  = []time.Duration{-1, -1, 0, time.Hour, day, 5 * day}
)

func (m *model) step(t *testing.T) {
	t.Helper()
	switch m.rand.IntN(14) {
	case 0, 1, 2:
		m.announceDue(t) // which happens all the time
		key := m.newKey(m.workspace(), m.pick(lives))
		if _, done := m.try(t, apikey.Create{Key: key}); done {
			m.tell(webhook.KeyCreated, "created", key.ID)
			m.begin(key)
		}
	case 3:
		m.announceDue(t)
		key := m.newKey(m.workspace(), m.pick(lives))
		key.Imported = true
		if _, done := m.try(t, apikey.Import{Key: key}); done {
			m.add(key)
		}
	case 4, 5:
		m.announceDue(t)
		m.rotateOne(t)
	case 6:
		m.revokeOne(t)
	case 7:
		m.revokeAll(t)
	case 8:
		ws := m.workspace()
		if _, done := m.try(t, apikey.Suspend{WorkspaceID: ws}); done {
			m.tell(webhook.WorkspaceSuspended, "suspended", ws)
		}
		if _, done := m.try(t, apikey.Resume{WorkspaceID: ws}); done {
			m.tell(webhook.WorkspaceResumed, "resumed", ws)
		}
	case 9:
		m.exposeOne(t)
	case 10, 11:
		m.now = m.now.Add(m.pick(pauses))
		if m.rand.IntN(3) > 0 {
			m.announceDue(t)
		}
	case 12:
		m.announceDue(t)
		back := m.pick(pauses) // a clock that goes back announces nothing
		m.pass(t, -back)
		m.now = m.now.Add(back)
		m.wantPending(t)
		m.deliver(t, 0.7)
	case 13:
		m.wantPending(t)
		m.restart(t)
		m.wantPending(t)
	}
}

// wantPending waits until so many messages are pending as should be.
func (m *model) wantPending(t *testing.T) {
	t.Helper()
	for _, r := range m.receivers {
		m.wantCount(t, r, m.due(r))
	}
}

func (m *model) one() (*apikey.Key, bool) {
	if len(m.ids) == 0 {
		return nil, false
	}
	return m.keys[m.ids[m.rand.IntN(len(m.ids))]], true
}

func (m *model) rotateOne(t *testing.T) {
	key, ok := m.one()
	if !ok {
		return
	}
	do := apikey.Rotate{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Replacement: m.newKey("", m.pick(lives))}
	if span := m.pick(spans); span >= 0 {
		do.RevokeOldAt = m.now.Add(span)
	}
	outcome, done := m.try(t, do)
	if !done {
		return
	}
	*key = outcome.Replaced
	m.tell(webhook.KeyRotated, "rotated", key.ID)
	if !key.RevokedAt.IsZero() {
		m.tell(webhook.KeyRevoked, "revoked", key.ID)
	}
	m.begin(outcome.Key)
}

func (m *model) revokeOne(t *testing.T) {
	key, ok := m.one()
	if !ok {
		return
	}
	scheduled := key.EffectiveRevokedAt(m.now)
	outcome, done := m.try(t, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID})
	if !done {
		return
	}
	*key = outcome.Key
	if scheduled.IsZero() || scheduled.After(m.announced) { // otherwise they have been told
		m.tell(webhook.KeyRevoked, "revoked", key.ID)
	}
}

func (m *model) revokeAll(t *testing.T) {
	ws := m.workspace()
	if _, done := m.try(t, apikey.RevokeAll{WorkspaceID: ws, Reason: "left"}); !done {
		return
	}
	for _, id := range m.ids {
		if key := m.keys[id]; key.WorkspaceID == ws && key.Status(m.now) == apikey.Active {
			key.RevokedAt = m.now
			m.tell(webhook.KeyRevoked, "revoked", id)
		}
	}
}

func (m *model) exposeOne(t *testing.T) {
	key, ok := m.one()
	if !ok {
		return
	}
	if _, done := m.try(t, apikey.Expose{WorkspaceID: key.WorkspaceID, KeyID: key.ID}); done {
		m.tell(webhook.KeyExposed, "exposed", key.ID)
	}
}
