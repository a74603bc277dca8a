package delivery

import (
	"context"
	"time"

	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// probe sends one message to a receiver that is down. It is the latest of those whose subject
// was not tried yet, for it may be that only others are in trouble; or else the one that has
// waited longest for its next try, unless the receiver has asked for more time.
func (p *pass) probe(working, sending context.Context) {
	var fresh, due *webhook.Message
	heads := make(map[string]bool)
	for _, workspace := range p.Outbox.Workspaces(p.ID) {
		for !p.ended[workspace] {
			page := p.page(working, workspace)
			if p.failed || working.Err() != nil {
				return
			}
			for i := range page {
				m := &page[i]
				if heads[m.Subject] {
					continue // others have to be sent before
				}
				heads[m.Subject] = true
				switch s := p.subjects[m.Subject]; {
				case s == nil || !s.inTrouble():
					if fresh == nil || m.ID > fresh.ID {
						fresh = m
					}
				case p.begun.Before(s.asked):
				case due == nil || s.next.Before(p.subjects[due.Subject].next):
					due = m
				}
			}
		}
	}
	if fresh == nil {
		fresh = due
	}
	if fresh == nil {
		p.health.delay(time.Now())
		return
	}
	p.health.probed = time.Now()
	p.start(sending, lane{subject: fresh.Subject, messages: []webhook.Message{*fresh}})
}
