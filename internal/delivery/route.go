package delivery

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/webhook"
)

const (
	// workers is how many messages are sent to a receiver at a time, and maxRepeats how many
	// of them may have failed before: those that hang leave room for others.
	workers    = 16
	maxRepeats = workers / 2
	// inspectEvery is how often the age of what is pending is looked at.
	inspectEvery = time.Minute
)

// route sends messages to one receiver. Only its own goroutine uses it, except for oldest and
// the channels.
type route struct {
	Target
	Config
	log *zap.Logger

	added   chan struct{} // has an element when there may be more messages
	results chan result
	oldest  atomic.Pointer[time.Time] // when the oldest pending message was written, a while ago

	health    health
	subjects  map[string]*subject  // those that are being sent, or in trouble
	inFlight  int                  // lanes that are being sent
	repeats   int                  // of these, how many begin with a message that has failed before
	probed    map[string]time.Time // by workspace, when the receiver was last probed with a message about it
	warned    time.Time            // when a failure was last logged
	inspected time.Time
}

func newRoute(config Config, target Target) *route {
	return &route{
		Target: target, Config: config, log: config.Log.With(zap.Stringer("receiver", target.Sender)),
		added: make(chan struct{}, 1), results: make(chan result, workers),
	}
}

// run sends until working is done, and returns once nothing is being sent. Everything is tried
// immediately; but a receiver that wants no more is not asked again.
func (r *route) run(working, sending context.Context) {
	r.health, r.subjects = health{gone: r.health.gone}, make(map[string]*subject)
	for working.Err() == nil {
		if time.Since(r.inspected) >= inspectEvery {
			r.inspect(working)
		}
		p := r.pass(working, sending)
		r.wait(working, sending, p)
	}
	for r.inFlight > 0 {
		r.settle(sending, <-r.results)
	}
}

// wait settles what is being sent, until another pass could find something to send.
func (r *route) wait(working, sending context.Context, p *pass) {
	for {
		next := time.NewTimer(time.Until(p.next()))
		select {
		case <-working.Done():
		case <-next.C:
		case done := <-r.results:
			next.Stop()
			r.settle(sending, done)
			continue
		case <-r.added:
			next.Stop()
			p.added = true
			r.health.hurry()
			continue
		}
		next.Stop()
		return
	}
}

// lane is the messages about one subject that are sent one after the other.
type lane struct {
	subject  string
	messages []webhook.Message
	repeat   bool // the first one has failed before
}

// result is what became of a lane.
type result struct {
	lane
	received int    // how many of its messages the receiver has
	failed   Result // of the next one, unless it has all
	aborted  bool   // the next one was not tried to the end
}

// start has a lane sent, once a worker is free.
func (r *route) start(sending context.Context, l lane) {
	for r.inFlight == workers {
		r.settle(sending, <-r.results)
	}
	s := r.subjects[l.subject]
	if s == nil {
		s = newSubject()
		r.subjects[l.subject] = s
	}
	s.sending = true
	r.inFlight++
	if l.repeat = s.inTrouble(); l.repeat {
		r.repeats++
	}
	go func() { r.results <- r.send(sending, l) }()
}

// send sends the messages of a lane, up to the first that fails.
func (r *route) send(ctx context.Context, l lane) result {
	for i, m := range l.messages {
		if ctx.Err() != nil {
			return result{lane: l, received: i, aborted: true}
		}
		if tried := r.Sender.Send(ctx, m.ID, m.Body); !tried.Received() {
			return result{lane: l, received: i, failed: tried, aborted: tried.Status == 0 && ctx.Err() != nil}
		}
	}
	return result{lane: l, received: len(l.messages)}
}
