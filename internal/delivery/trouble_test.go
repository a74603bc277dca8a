package delivery

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Trouble with one subject delays no other. Its message is tried again within 5 seconds, then
// with growing pauses, with the same id, for 3 days, and those after it wait.
func TestDeliver_troubleWithOne(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.say(func(a attempt) answer {
			if a.subject == "bad" {
				return answer{status: 500}
			}
			return answer{status: 200}
		})
		w.add("r", "acme", "bad", "good", "bad", "good")
		w.Use([]Target{w.target("r")})
		for range 100 {
			w.after(time.Minute)
			w.add("r", "acme", "good", "new")
			w.after(0)
			w.wantPending(2)
		}
		w.wantLogged("did not receive a message")
		tries := w.of("bad")
		var pauses []time.Duration
		for i, a := range tries[1:] {
			if a.id != tries[0].id {
				t.Fatalf("got %s, want %s again", a.id, tries[0].id)
			}
			pauses = append(pauses, a.after-tries[i].after)
		}
		if pauses[0] > 5*time.Second || pauses[4] < 4*pauses[0] || slices.Max(pauses) > longestPause*4/3+time.Second {
			t.Errorf("got the pauses %v, want 5s at first, growing to %v", pauses, longestPause)
		}
		w.after(tryFor - 100*time.Minute - longestPause*2)
		w.wantPending(2)
		w.after(longestPause * 4)
		w.wantPending(0)
		if got := w.outcome(GivenUp); got != 2 {
			t.Errorf("got %d given up, want 2", got)
		}
	})
}

// What hangs leaves room for others.
func TestDeliver_hanging(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.say(func(a attempt) answer {
			if strings.HasPrefix(a.subject, "slow") {
				return answer{status: 200, delay: time.Hour}
			}
			return answer{status: 200}
		})
		w.add("r", "acme", numbered("slow", 15)...)
		w.Use([]Target{w.target("r")})
		for range 1000 {
			w.add("r", "acme", numbered("fast", 10)...)
			w.after(2 * time.Second)
			w.wantPending(15)
		}
		if _, most := w.atATime(); most > workers {
			t.Errorf("got %d messages at a time, want %d at most", most, workers)
		}
	})
}

// A receiver that is down costs little, is probed while it is, and gets everything soon after
// it is back, in order.
func TestDeliver_down(t *testing.T) {
	inWorld(t, always(0), func(w *world) {
		w.add("r", "acme", numbered("k", 100)...)
		w.add("r", "other", numbered("o", 100)...)
		w.add("r", "acme", numbered("k", 100)...)
		w.Use([]Target{w.target("r")})
		w.after(24 * time.Hour)
		w.wantPending(300)
		if got := len(w.of("")); got > 24*60*2 {
			t.Errorf("got %d tries in a day, want one or two a minute", got)
		}
		if w.read > 900_000 {
			t.Errorf("got %d messages read in a day, want 300 a minute", w.read)
		}
		w.wantLogged("receives nothing")
		if got := w.Deliverer.Pending(); got.Messages != 300 || got.Age < 23*time.Hour || got.Age > 24*time.Hour {
			t.Errorf("got %+v, want 300 messages, a day old", got)
		}
		before := len(w.of(""))
		w.say(always(200))
		w.after(2 * longestProbe)
		w.wantPending(0)
		if got := len(w.of("")) - before; got != 300 {
			t.Errorf("got %d messages once it is back, want each once", got)
		}
		w.wantLogged("receives messages again")
		if got := w.Deliverer.Pending(); got != (Pending{}) {
			t.Errorf("got %+v, want nothing pending", got)
		}
		inOrder(t, w.of("k00000"))
	})
}

// Even if so many subjects are in trouble that the receiver counts as down, a new message is
// tried at once.
func TestDeliver_troubleWithMany(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.say(func(a attempt) answer {
			if strings.HasPrefix(a.subject, "bad") {
				return answer{status: 500}
			}
			return answer{status: 200}
		})
		w.add("r", "acme", numbered("bad", 200)...)
		w.Use([]Target{w.target("r")})
		for _, subject := range numbered("good", 50) {
			w.after(10 * time.Minute)
			w.add("r", "acme", subject)
			w.after(5 * time.Second)
			w.wantPending(200)
		}
	})
}

// What a receiver refuses of one workspace does not keep from it what it would take of others.
func TestDeliver_troubleWithWorkspace(t *testing.T) {
	refuses := true
	answers := func(a attempt) answer {
		if strings.HasPrefix(a.subject, "flood") || refuses {
			return answer{status: 500, delay: 10 * time.Millisecond}
		}
		return answer{status: 204, delay: 20 * time.Millisecond}
	}
	inWorld(t, answers, func(w *world) {
		w.add("r", "early", "early") // it is in trouble too, when the receiver gets well
		w.add("r", "flood", numbered("flood", 20)...)
		w.Use([]Target{w.target("r")})
		w.after(time.Second)
		w.say(func(a attempt) answer { refuses = false; return answers(a) })
		w.add("r", "quiet", numbered("quiet", 20)...)
		for i := range 240 {
			w.add("r", "flood", fmt.Sprint("flood, later: ", i))
			w.after(500 * time.Millisecond)
		}
		for _, subject := range append(numbered("quiet", 20), "early") {
			got := w.of(subject)
			if last := len(got) - 1; last < 0 || got[last].after > time.Minute {
				t.Errorf("got %v of %s, want one that is received within a minute", got, subject)
			}
		}
	})
}

// While nothing gets through, messages are given up without tries of their own.
func TestDeliver_downFor3Days(t *testing.T) {
	inWorld(t, always(503), func(w *world) {
		w.add("r", "acme", numbered("k", 100)...)
		w.add("r", "other", numbered("o", 100)...)
		w.Use([]Target{w.target("r")})
		w.after(tryFor - time.Minute)
		w.wantPending(200)
		w.after(3 * time.Minute)
		w.wantPending(0)
		if got := w.outcome(GivenUp); got != 200 {
			t.Errorf("got %d given up, want 200", got)
		}
	})
}

// What is old is tried once more after a restart, even if it is weeks later.
func TestDeliver_afterLongStop(t *testing.T) {
	inWorld(t, always(200), func(w *world) {
		w.add("r", "acme", numbered("k", 100)...)
		w.after(30 * 24 * time.Hour)
		w.Use([]Target{w.target("r")})
		w.after(time.Second)
		w.wantPending(0)
		w.wantOutcomes(100, 0, 0)
	})
}

// A receiver that says 410 Gone is left alone until the configuration is loaded again.
func TestDeliver_gone(t *testing.T) {
	inWorld(t, always(410), func(w *world) {
		w.add("r", "acme", "a")
		w.add("s", "acme", "a")
		w.say(func(a attempt) answer {
			if a.subject == "a" {
				return answer{status: 410}
			}
			return answer{status: 200}
		})
		w.Use([]Target{w.target("r")})
		w.after(0)
		w.add("r", "acme", "b")
		w.after(24 * time.Hour)
		if got := len(w.of("")); got != 1 {
			t.Errorf("got %d tries, want 1", got)
		}
		w.wantLogged("wants no more messages")
		w.wantPending(2)
		w.say(always(200))
		w.Use([]Target{w.target("r")})
		w.after(0)
		w.wantPending(0)
		w.say(always(410))
		w.add("r", "acme", "c")
		w.after(tryFor + time.Hour)
		w.wantPending(0)
		w.wantOutcomes(2, 2, 1)
	})
}

// Retry-After is heeded, up to a bound.
func TestDeliver_retryAfter(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.say(func(a attempt) answer {
			return answer{status: 429, retryAfter: map[string]string{"minute": "60", "day": "86400", "none": "0"}[a.subject]}
		})
		w.add("r", "acme", "minute", "day", "none")
		w.Use([]Target{w.target("r")})
		w.after(tryFor / 9)
		for subject, want := range map[string]time.Duration{"minute": time.Minute, "day": longestAsked} {
			if got := w.of(subject); got[1].after-got[0].after < want || got[1].after-got[0].after > want+2*longestProbe {
				t.Errorf("%s: got the second try after %v, want %v", subject, got[1].after-got[0].after, want)
			}
		}
		if got := w.of("none"); got[1].after > 5*time.Second {
			t.Errorf("got the second try after %v, want 5s at most", got[1].after)
		}
	})
}

// A message that cannot be removed from the outbox is sent again.
func TestDeliver_outboxFails(t *testing.T) {
	inWorld(t, always(200), func(w *world) {
		w.setBroken(errors.New("input/output error"))
		w.add("r", "acme", "a", "a")
		w.Use([]Target{w.target("r")})
		w.after(time.Second)
		w.wantPending(2)
		w.setBroken(nil)
		w.after(time.Minute)
		w.wantPending(0)
		w.wantOutcomes(2, 0, 0)
	})
}

// TestDeliver_anyhow: whatever receivers answer, and whenever the gateway stops, every message
// is received at least once, and those about one subject in their order.
func TestDeliver_anyhow(t *testing.T) {
	subjects := []string{"a", "b", "c", "d"}
	rapid.Check(t, func(rt *rapid.T) {
		statuses := rapid.SliceOfN(rapid.SampledFrom([]int{200, 200, 204, 0, 301, 404, 410, 429, 500, 503}), 200, 200).Draw(rt, "statuses")
		delays := rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, 0, 0, time.Second, 11 * time.Second}), 50, 50).Draw(rt, "delays")
		steps := rapid.SliceOfN(rapid.SampledFrom(append(subjects, "reload", "close", "wait")), 1, 60).Draw(rt, "steps")
		inWorld(t, nil, func(w *world) {
			n, received, sent := 0, make(map[string]bool), 0
			w.say(func(a attempt) answer {
				n++
				say := answer{status: statuses[n%len(statuses)], delay: delays[n%len(delays)]}
				if say.status/100 == 2 && say.delay < tryTimeout {
					received[a.id] = true
				}
				return say
			})
			w.Use([]Target{w.target("r")})
			for _, step := range steps {
				switch step {
				case "reload":
					w.Use([]Target{w.target("r")})
				case "close":
					w.Close()
					w.Use([]Target{w.target("r")})
				case "wait":
					w.after(7 * time.Second)
				default:
					w.add("r", "acme", step)
					sent++
				}
			}
			w.say(func(a attempt) answer {
				received[a.id] = true
				return answer{status: 200}
			})
			w.Use([]Target{w.target("r")})
			w.after(10 * time.Minute)
			w.wantPending(0)
			if len(received) != sent {
				rt.Errorf("got %d messages received, want %d", len(received), sent)
			}
			for _, subject := range subjects {
				inOrder(rt, w.of(subject))
			}
		})
	})
}
