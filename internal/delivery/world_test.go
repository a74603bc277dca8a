package delivery

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// attempt is a message that has arrived at a receiver.
type attempt struct {
	id, subject string
	after       time.Duration // since the test began
}

// answer is what a receiver says to an attempt.
type answer struct {
	status     int // 0 for none at all
	retryAfter string
	delay      time.Duration
}

// world is an outbox, receivers that a test speaks for, and a deliverer between them.
type world struct {
	*testing.T
	*memory
	*Deliverer
	begun time.Time
	logs  *observer.ObservedLogs

	mu       sync.Mutex
	answers  func(attempt) answer
	attempts []attempt
	underway map[string]int // by id
	most     int            // at a time
	outcomes map[string]int
}

// inWorld runs a test in a world with one receiver, "r", and a clock of its own.
func inWorld(t *testing.T, answers func(attempt) answer, test func(*world)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		w := &world{T: t, memory: newMemory(), begun: time.Now(), logs: logs, answers: answers, underway: make(map[string]int), outcomes: make(map[string]int)}
		w.Deliverer = w.deliverer(zap.New(core))
		test(w)
		w.Close()
	})
}

func (w *world) deliverer(log *zap.Logger) *Deliverer {
	return New(Config{Outbox: w.memory, Now: time.Now, Observe: w.observe, Log: log})
}

func (w *world) observe(o string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes[o]++
}

// target returns a receiver in this world.
func (w *world) target(id string) Target {
	w.Helper()
	s, _ := senderTo(w, "http://localhost/"+id)
	s.client.Transport = w
	return Target{webhook.Receiver{ID: id, Types: webhook.Types}, s}
}

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	got := attempt{r.Header.Get("webhook-id"), string(body), time.Since(w.begun)}
	w.mu.Lock()
	w.attempts = append(w.attempts, got)
	w.underway[got.id]++
	if w.underway[got.id] > 1 {
		w.Errorf("%s of %s is sent twice at a time", got.id, got.subject)
	}
	w.most = max(w.most, len(w.underway))
	say := w.answers(got)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.underway[got.id]--; w.underway[got.id] == 0 {
			delete(w.underway, got.id)
		}
	}()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(say.delay):
	}
	if say.status == 0 {
		return nil, errors.New("connection refused")
	}
	response := &http.Response{StatusCode: say.status, Header: http.Header{}, Body: http.NoBody, Request: r}
	if say.retryAfter != "" {
		response.Header.Set("Retry-After", say.retryAfter)
	}
	return response, nil
}

// say changes what the receivers answer.
func (w *world) say(answers func(attempt) answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = answers
}

// of returns the attempts that are about a subject, all if it is "".
func (w *world) of(subject string) (attempts []attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.attempts {
		if subject == "" || a.subject == subject {
			attempts = append(attempts, a)
		}
	}
	return attempts
}

func (w *world) outcome(o string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.outcomes[o]
}

// atATime returns how many messages are being sent, and the most that were.
func (w *world) atATime() (now, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.underway), w.most
}

// after lets time pass.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	bubble.Wait()
}

func (w *world) wantPending(want int) {
	w.Helper()
	if got := w.Count("r"); got != want {
		w.Errorf("after %v: got %d messages pending, want %d", time.Since(w.begun), got, want)
	}
}

func (w *world) wantOutcomes(delivered, retried, givenUp int) {
	w.Helper()
	got := [3]int{w.outcome(Delivered), w.outcome(Retried), w.outcome(GivenUp)}
	if want := [3]int{delivered, retried, givenUp}; got != want {
		w.Errorf("got %v delivered, retried and given up, want %v", got, want)
	}
}

// wantLogged checks that one line has a text.
func (w *world) wantLogged(text string) {
	w.Helper()
	n := 0
	for _, line := range w.logs.All() {
		if strings.Contains(line.Message, text) {
			n++
		}
	}
	if n != 1 {
		w.Errorf("got %d lines with %q, want 1: %v", n, text, w.logs.All())
	}
}

func always(status int) func(attempt) answer {
	return func(attempt) answer { return answer{status: status} }
}

// numbered returns the names of n subjects.
func numbered(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s%05d", prefix, i))
	}
	return names
}
