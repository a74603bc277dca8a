package delivery

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// announceEvery is how often it is asked whether messages have become due.
const announceEvery = time.Second

// shift sends to the targets of one configuration, until another one takes over.
type shift struct {
	*Deliverer
	routes []*route

	// No try begins once working is done, and none continues once sending is.
	working, sending  context.Context
	stopWork, endSend context.CancelFunc
	over              chan struct{} // closed once nothing is being sent
}

func newShift(d *Deliverer, targets []Target) *shift {
	s := &shift{Deliverer: d, over: make(chan struct{})}
	s.sending, s.endSend = context.WithCancel(context.Background())
	s.working, s.stopWork = context.WithCancel(s.sending)
	for _, target := range targets {
		s.routes = append(s.routes, newRoute(d.config, target))
	}
	return s
}

// run sends whenever this gateway leads, until the shift is stopped.
func (s *shift) run() {
	defer close(s.over)
	if len(s.routes) == 0 {
		return // and leave it to other gateways to lead
	}
	var watching sync.WaitGroup
	watching.Go(s.watchDropped)
	defer watching.Wait()
	for s.working.Err() == nil {
		if !s.leadOnce() {
			return
		}
	}
}

// leadOnce waits until this gateway leads, and sends for as long as it does. It reports
// whether it might once more: not if the outbox is closed.
func (s *shift) leadOnce() bool {
	// Once this gateway leads, what is being sent may outlast working.
	ctx, cancel := context.WithCancel(s.sending)
	defer cancel()
	waiting := context.AfterFunc(s.working, cancel)
	leading, resign, err := s.config.Outbox.Lead(ctx)
	waiting()
	if err != nil {
		return false
	}
	defer resign()
	s.lead(leading)
	return true
}

// stop ends the shift, and returns once nothing is being sent. Tries under way have a while to
// end.
func (s *shift) stop(patience time.Duration) {
	s.stopWork()
	patient := time.AfterFunc(patience, s.endSend)
	defer patient.Stop()
	<-s.over
	s.endSend()
	for _, r := range s.routes {
		r.Sender.Close()
	}
}

// lead sends for as long as this gateway leads.
func (s *shift) lead(leading context.Context) {
	sending, endSend := context.WithCancel(s.sending)
	defer endSend()
	defer context.AfterFunc(leading, endSend)() // another gateway may send what is under way
	working, stopWork := context.WithCancel(s.working)
	defer stopWork()
	defer context.AfterFunc(sending, stopWork)()

	var all sync.WaitGroup
	for _, r := range s.routes {
		all.Go(func() { r.run(working, sending) })
	}
	all.Go(func() { s.announce(working) })
	all.Go(func() { s.wakeRoutes(working) })
	all.Wait()
}

// announce has messages written that have become due.
func (s *shift) announce(ctx context.Context) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	failing := false
	for {
		more, err := s.config.Outbox.Announce(ctx, s.config.Now())
		if err != nil && !failing && ctx.Err() == nil {
			s.config.Log.Error("could not write the messages to webhooks that are due; trying again every second", zap.Error(err))
		}
		failing = err != nil
		if more && err == nil && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// wakeRoutes tells all routes that there may be more messages.
func (s *shift) wakeRoutes(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.config.Outbox.Added():
		}
		for _, r := range s.routes {
			select {
			case r.added <- struct{}{}:
			default: // it has not looked yet
			}
		}
	}
}

// watchDropped counts dropped messages, on every gateway.
func (s *shift) watchDropped() {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		s.countDropped(s.routes)
		select {
		case <-s.working.Done():
			return
		case <-tick.C:
		}
	}
}
