package delivery

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/webhook"
)

const (
	// tryFor is for how long a message is tried, from when it was written.
	tryFor = 3 * 24 * time.Hour
	// warnEvery bounds how often failures are logged.
	warnEvery = time.Second
	// removeTimeout bounds how long it takes to remove messages from the outbox.
	removeTimeout = 5 * time.Second
)

// settle takes back a lane that was sent, and all others that are ready: it is cheaper to
// remove the messages of several from the outbox together.
func (r *route) settle(ctx context.Context, first result) {
	results := []result{first}
	for ready := true; ready; {
		select {
		case next := <-r.results:
			results = append(results, next)
		default:
			ready = false
		}
	}
	var done []webhook.Message
	for i := range results {
		done = append(done, results[i].messages[:results[i].received]...)
		if r.isOver(&results[i]) {
			done = append(done, results[i].messages[results[i].received])
		}
	}
	err := r.remove(ctx, done)
	if err != nil && ctx.Err() == nil {
		r.log.Error("could not remove messages that a webhook has received: they will be sent again", zap.Error(err))
	}
	for i := range results {
		r.takeBack(&results[i], err)
	}
}

// remove removes messages from the outbox, even if sending is to end: they would be sent again
// after later ones.
func (r *route) remove(ctx context.Context, done []webhook.Message) error {
	if len(done) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	return r.Outbox.Done(ctx, done...)
}

// isOver reports whether the message that has failed is given up.
func (r *route) isOver(done *result) bool {
	return done.hasFailed() && r.isOld(&done.messages[done.received])
}

// hasFailed reports whether a message of the lane was refused, or not received.
func (done *result) hasFailed() bool { return !done.aborted && done.received < len(done.messages) }

// isOld reports whether a message was tried for long enough.
func (r *route) isOld(m *webhook.Message) bool { return r.Now().Sub(m.At) >= tryFor }

// takeBack draws the consequences for the subject of a lane, and for the receiver. err is why
// its messages are still in the outbox.
func (r *route) takeBack(done *result, err error) {
	now, s := time.Now(), r.subjects[done.subject]
	s.sending = false
	r.inFlight--
	if done.repeat {
		r.repeats--
	}
	if done.received > 0 {
		r.works(now)
	}
	switch {
	case done.hasFailed():
		r.fails(now, s, done)
	case err != nil:
		s.fail(now, 0)
	case !done.aborted:
		delete(r.subjects, done.subject)
	}
	if err != nil {
		return
	}
	for range done.received {
		r.Observe(Delivered)
	}
	if r.isOver(done) {
		r.giveUp(done)
		delete(r.subjects, done.subject) // the next message of the subject has all its tries
	}
}

// works notes that something has got through.
func (r *route) works(now time.Time) {
	if r.health.down() {
		r.log.Info("a webhook receives messages again")
		for _, s := range r.subjects {
			if s.inTrouble() && !s.failed.Before(r.health.since) && now.Before(s.next) {
				s.next = later(now, s.asked)
			}
		}
	}
	r.health = health{gone: r.health.gone}
}

// fails notes that a message was not received.
func (r *route) fails(now time.Time, s *subject, done *result) {
	m := &done.messages[done.received]
	fields := []zap.Field{zap.String("failure", done.failed.Failure), zap.String("message", m.ID), zap.String("type", string(m.Type)),
		zap.String("workspace_id", m.Workspace), zap.String("subject", m.Subject)}
	gone := done.failed.gone() && !r.health.gone
	if !gone && !s.inTrouble() && !r.health.down() && now.Sub(r.warned) >= warnEvery {
		r.warned = now
		r.log.Warn("a webhook did not receive a message; trying again", fields...)
	}
	if !r.isOld(m) {
		r.Observe(Retried)
	}
	s.fail(now, done.failed.RetryAfter)
	if r.health.fail(now) {
		r.log.Error("a webhook receives nothing; trying single messages until it does", fields...)
	}
	if gone {
		r.health.gone = true
		r.log.Error("a webhook wants no more messages: none is sent to it until the configuration is loaded again, or the gateway is started", fields...)
	}
}

func (r *route) giveUp(done *result) {
	m := &done.messages[done.received]
	r.Observe(GivenUp)
	r.log.Error("gave up on a message to a webhook after 3 days", zap.String("failure", done.failed.Failure), zap.String("message", m.ID),
		zap.String("type", string(m.Type)), zap.String("workspace_id", m.Workspace), zap.String("subject", m.Subject), zap.Time("written", m.At))
}
