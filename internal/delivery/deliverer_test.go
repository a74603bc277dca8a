package delivery

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// Messages about one subject arrive in their order, and each once if it is confirmed.
func TestDeliver_order(t *testing.T) {
	inWorld(t, always(200), func(w *world) {
		for range 40 {
			w.add("r", "acme", "a", "b", "c")
			w.add("r", "other", "d")
		}
		w.Use([]Target{w.target("r")})
		w.after(time.Second)
		w.wantPending(0)
		w.wantOutcomes(160, 0, 0)
		for _, subject := range []string{"a", "b", "c", "d"} {
			got := w.of(subject)
			if len(got) != 40 || !slices.IsSortedFunc(got, func(a, b attempt) int { return strings.Compare(a.id, b.id) }) {
				t.Errorf("%s: got %v, want 40 in order", subject, got)
			}
		}
		w.add("r", "acme", "a")
		w.after(0)
		w.wantPending(0)
	})
}

// inOrder checks that no message was sent before one with a lower id was sent for the last
// time.
func inOrder(t rapid.TB, attempts []attempt) {
	t.Helper()
	for i := 1; i < len(attempts); i++ {
		if attempts[i].id < attempts[i-1].id {
			t.Errorf("got %s after %s", attempts[i].id, attempts[i-1].id)
		}
	}
}

// Receivers do not affect each other.
func TestDeliver_independent(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.say(func(a attempt) answer {
			if strings.HasPrefix(a.subject, "bad") {
				return answer{status: 200, delay: time.Hour}
			}
			return answer{status: 200}
		})
		w.add("bad", "acme", numbered("bad", 100)...)
		w.add("r", "acme", numbered("good", 100)...)
		w.Use([]Target{w.target("bad"), w.target("r")})
		w.after(0)
		w.wantPending(0)
	})
}

// One workspace does not wait until another has no more messages.
func TestDeliver_workspacesTakeTurns(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.say(func(attempt) answer { return answer{status: 200, delay: time.Second} })
		w.add("r", "acme", numbered("k", 5000)...)
		w.Use([]Target{w.target("r")})
		w.after(10 * time.Second)
		for _, subject := range numbered("late", 3) {
			w.add("r", "late", subject)
			w.after(4 * time.Second)
			if got := len(w.of(subject)); got != 1 {
				t.Errorf("%s: got %d tries, want it sent before thousands of others", subject, got)
			}
		}
	})
}

// Closing takes a second at most, and what is not confirmed is sent again by the next start, at
// once and with the same id.
func TestClose(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.say(func(attempt) answer { return answer{status: 200, delay: time.Hour} })
		w.add("r", "acme", "hangs", "hangs")
		w.Use([]Target{w.target("r")})
		w.after(tryTimeout + 15*time.Second)
		before := len(w.of("hangs"))
		begun := time.Now()
		w.Close()
		if took := time.Since(begun); took > handOver {
			t.Errorf("closing took %v, want %v at most", took, handOver)
		}
		w.wantPending(2)
		w.say(always(200))
		w.Use([]Target{w.target("r")})
		w.after(0)
		w.wantPending(0)
		if got := w.of("hangs"); len(got) != before+2 || got[before].id != got[0].id {
			t.Errorf("got %v, want the first again, and then the second", got)
		}
	})
}

// A new configuration takes over once what is being sent has ended, so that nothing is sent
// twice at a time (see RoundTrip).
func TestUse_takesOver(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.say(func(attempt) answer { return answer{status: 200, delay: 5 * time.Second} })
		w.add("r", "acme", numbered("k", 100)...)
		for range 20 {
			w.Use([]Target{w.target("r")})
			w.after(7 * time.Second)
		}
		w.wantPending(0)
		w.wantOutcomes(100, 0, 0)
		w.Use(nil)
		w.add("r", "acme", "k")
		w.after(time.Hour)
		w.wantPending(1)
	})
}

// Without the lead nothing is sent, and it is given away only once nothing is being sent.
func TestDeliver_lead(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.say(func(attempt) answer { return answer{status: 200, delay: 5 * time.Second} })
		w.resigned = func() {
			if now, _ := w.atATime(); now > 0 {
				t.Errorf("got the lead given away while %d messages are being sent", now)
			}
		}
		<-w.lead
		w.add("r", "acme", numbered("k", 100)...)
		w.Use([]Target{w.target("r")})
		w.after(time.Hour)
		w.wantPending(100)
		w.lead <- struct{}{}
		w.after(time.Second)
		if now, _ := w.atATime(); now != workers {
			t.Errorf("got %d messages at a time, want %d", now, workers)
		}
		w.lose()
		w.after(time.Minute) // it leads again, as nobody else wants to
		w.wantPending(0)
	})
}

func TestDeliver_dropped(t *testing.T) {
	inWorld(t, always(200), func(w *world) {
		w.Use([]Target{w.target("r")})
		w.after(0)
		w.memory.mu.Lock()
		w.memory.dropped = 7
		w.memory.mu.Unlock()
		w.after(time.Minute)
		w.wantOutcomes(0, 0, 7)
		w.wantLogged("too many are pending")
	})
}

// However many messages are pending, few of them are in memory.
func TestDeliver_pages(t *testing.T) {
	inWorld(t, always(200), func(w *world) {
		const n = 4_000 // the race detector itself fails, now and then, with many more
		for i := range 100 {
			w.add("r", "acme"+string(rune('a'+i%26)), numbered(string(rune('a'+i%26)), n/100)...)
		}
		w.Use([]Target{w.target("r")})
		w.after(time.Minute)
		w.wantPending(0)
		w.wantOutcomes(n, 0, 0)
		if w.largest > sweepSize || w.read > 3*n {
			t.Errorf("got pages of %d messages, and %d read in all", w.largest, w.read)
		}
	})
}

func TestTest(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.say(func(attempt) answer { return answer{status: 204, delay: time.Second} })
		w.Use([]Target{w.target("r"), w.target("s")})
		w.after(0)
		got := w.Test(w.Context())
		if len(got) != 2 || got[0].Address != "http://localhost/r" || got[1].Status != 204 || got[1].Took != time.Second {
			t.Errorf("got %+v, want what two receivers have answered after a second", got)
		}
		if sent := w.of(""); len(sent) != 2 || sent[0].id == sent[1].id || !strings.HasPrefix(sent[0].subject, `{"type":"webhook.test","timestamp":"20`) {
			t.Errorf("got %+v, want two test messages", sent)
		}
		w.wantOutcomes(0, 0, 0)
	})
}

var _ webhook.Outbox = (*memory)(nil)
