package delivery

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/webhook"
)

const (
	// pageSize is how many messages of one workspace are taken before it is another's turn.
	pageSize = 16
	// readShare is the part of the time in which the outbox may be read: one in so many. Many
	// messages may be waiting for their next try.
	readShare = 20
	// rereadAfter is how long after a failure an outbox is read again.
	rereadAfter = time.Second
)

// pass is one look at all that is pending, which hands out what may be sent.
type pass struct {
	*route
	begun   time.Time
	after   map[string]string // by workspace, the last message that was seen
	ended   map[string]bool   // workspaces of which all messages were seen
	behind  map[string]bool   // subjects with messages that were passed over: later ones wait too
	seen    map[string]bool   // subjects in trouble that still have messages
	reading time.Duration     // how long the outbox was read
	stopped bool              // before all was seen
	failed  bool              // the outbox could not be read
	added   bool              // there may be messages that were not seen
}

// pass hands out what may be sent now, until the receiver is found to be down: then it is one
// message at most, to probe the receiver with. Workspaces take turns.
func (r *route) pass(working, sending context.Context) *pass {
	p := &pass{
		route: r, begun: time.Now(),
		after: make(map[string]string), ended: make(map[string]bool), behind: make(map[string]bool), seen: make(map[string]bool),
	}
	switch {
	case r.health.gone:
		return p
	case r.health.down():
		if r.inFlight == 0 && !p.begun.Before(r.health.probe) {
			p.probe(working, sending)
		}
		return p
	}
	for p.round(working, sending) {
		select {
		case <-r.added: // maybe to a workspace of which all was seen
			clear(p.ended)
		default:
		}
	}
	if !p.stopped {
		p.forget()
	}
	return p
}

// round takes a page of each workspace, and reports whether another one may find more.
func (p *pass) round(working, sending context.Context) (more bool) {
	for _, workspace := range p.Outbox.Workspaces(p.ID) {
		if p.ended[workspace] {
			continue
		}
		for _, l := range p.free(lanes(p.page(working, workspace))) {
			p.start(sending, l)
			if working.Err() != nil || p.health.gone || p.health.down() {
				p.stopped = true
				return false
			}
		}
		if p.failed {
			p.stopped = true
			return false
		}
		more = true
	}
	return more
}

// page returns the next messages of a workspace.
func (p *pass) page(ctx context.Context, workspace string) []webhook.Message {
	begun := time.Now()
	page, err := p.Outbox.Pending(ctx, p.ID, workspace, p.after[workspace], pageSize)
	p.reading += time.Since(begun)
	if err != nil {
		if ctx.Err() == nil {
			p.log.Error("could not read the messages to a webhook; trying again", zap.Error(err))
		}
		p.failed = true
		return nil
	}
	if len(page) < pageSize {
		p.ended[workspace] = true
	}
	if len(page) > 0 {
		p.after[workspace] = page[len(page)-1].ID
	}
	return page
}

// lanes returns the messages of a page by subject.
func lanes(page []webhook.Message) (lanes []lane) {
	index := make(map[string]int)
	for _, m := range page {
		i, found := index[m.Subject]
		if !found {
			i = len(lanes)
			index[m.Subject] = i
			lanes = append(lanes, lane{subject: m.Subject})
		}
		lanes[i].messages = append(lanes[i].messages, m)
	}
	return lanes
}

// free leaves out the lanes of subjects that have to wait. It is called before anything else is
// settled: what is being sent while a page is read may have been received when it is looked at.
func (p *pass) free(all []lane) (free []lane) {
	now, repeats := time.Now(), p.repeats
	for _, l := range all {
		if s := p.subjects[l.subject]; s != nil {
			p.seen[l.subject] = true
			// One that has failed during the pass has a message before these.
			if s.waits(now) || s.inTrouble() && (repeats >= maxRepeats || !s.failed.Before(p.begun)) {
				p.behind[l.subject] = true
			} else if s.inTrouble() {
				repeats++
			}
		}
		if !p.behind[l.subject] {
			free = append(free, l)
		}
	}
	return free
}

// forget removes subjects that have no more messages.
func (p *pass) forget() {
	for id, s := range p.subjects {
		if !s.sending && !p.seen[id] && s.failed.Before(p.begun) {
			delete(p.subjects, id)
		}
	}
}

// next returns when another pass could find something to send, as far as is known.
func (p *pass) next() time.Time {
	ended := p.begun.Add(p.reading)
	if p.failed {
		return ended.Add(rereadAfter)
	}
	next := ended.Add(inspectEvery)
	switch {
	case p.health.gone:
		return next
	case p.health.down() && p.inFlight > 0:
		return next // once it is known what comes of that
	}
	rested := ended.Add((readShare - 1) * p.reading)
	if p.health.down() {
		return later(p.health.probe, rested)
	}
	if p.stopped || p.added {
		return rested
	}
	for id := range p.behind {
		if p.subjects[id] == nil { // it has nothing before it any more
			return rested
		}
	}
	for _, s := range p.subjects {
		if !s.sending && p.repeats < maxRepeats && s.next.Before(next) {
			next = s.next
		}
	}
	return later(next, rested)
}
