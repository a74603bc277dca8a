package delivery

import (
	"context"
	"time"

	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// candidate is a message that a receiver may be probed with.
type candidate struct {
	*webhook.Message           // nil if there is none
	fresh            bool      // its subject was not tried yet
	next             time.Time // when its subject is to be tried again, unless it is fresh
	probed           time.Time // when one about its workspace was last sent
}

// probe sends one message to a receiver that is down. Workspaces take turns: it may be that
// only messages about one of them are in trouble, and there may always be another of those.
func (p *pass) probe(working, sending context.Context) {
	var best candidate
	probed := make(map[string]time.Time)
	for _, workspace := range p.Outbox.Workspaces(p.ID) {
		probed[workspace] = p.probed[workspace]
		c := p.candidate(working, workspace)
		if p.failed || working.Err() != nil {
			return
		}
		if c.precedes(best) {
			best = c
		}
	}
	p.probed = probed // without workspaces that have no more messages
	if best.Message == nil {
		p.health.delay(time.Now())
		return
	}
	p.health.probed = time.Now()
	p.probed[best.Workspace] = p.health.probed
	p.start(sending, lane{subject: best.Subject, messages: []webhook.Message{*best.Message}})
}

// candidate returns the message about a workspace that a receiver is best probed with. It is
// the latest of those whose subject was not tried yet; or else the one that has waited longest
// for its next try, unless the receiver has asked for more time.
func (p *pass) candidate(working context.Context, workspace string) (best candidate) {
	heads := make(map[string]bool)
	for !p.ended[workspace] {
		page := p.page(working, workspace)
		if p.failed || working.Err() != nil {
			return candidate{}
		}
		for i := range page {
			m := &page[i]
			if heads[m.Subject] {
				continue // others have to be sent before
			}
			heads[m.Subject] = true
			c := candidate{Message: m, fresh: true, probed: p.probed[workspace]}
			if s := p.subjects[m.Subject]; s != nil && s.inTrouble() {
				if p.begun.Before(s.asked) {
					continue
				}
				c.fresh, c.next = false, s.next
			}
			if c.precedes(best) {
				best = c
			}
		}
	}
	return best
}

// precedes reports whether a candidate is better than another one.
func (c candidate) precedes(other candidate) bool {
	switch {
	case c.Message == nil || other.Message == nil:
		return c.Message != nil
	case !c.probed.Equal(other.probed):
		return c.probed.Before(other.probed)
	case c.fresh != other.fresh:
		return c.fresh
	case c.fresh:
		return c.ID > other.ID
	}
	return c.next.Before(other.next)
}
