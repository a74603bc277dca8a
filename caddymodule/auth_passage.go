package caddymodule

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/agiled/caddy-api-keys/internal/authn"
)

// passage is a request that an api_key_auth let pass. It is one piece of memory,
// because allocations are most of what the check costs.
type passage struct {
	announced           // its answer
	stream    stream    // that answer and its body, on their way
	identity  [3]string // the values of its identity headers
	block     *Auth     // what let it pass
	pass      authn.Pass

	// What the block saw, and has removed or may change.
	otherMethod, otherPath, earlyData, browser bool

	before *passage // that of the block before this one, if there is one
	last   *passage // of the first block's: that of the block that came last
}

// passageKey is how an api_key_auth asks the request's placeholders whether one
// was before it. No configuration can spell it, for its brace.
const passageKey = "http.api_key.passage}"

// firstPassage returns the passage of the first api_key_auth that let a request
// pass, or nil. The placeholders know it because they belong to the request, and
// have to be told of its key anyway: a value in its context would cost a copy of
// the request.
func firstPassage(repl *caddy.Replacer) *passage {
	value, _ := repl.Get(passageKey)
	first, _ := value.(*passage)
	return first
}

// placeholder resolves the placeholders of a request that passed.
func (p *passage) placeholder(name string) (any, bool) {
	switch key := p.pass.Key; name {
	case "http.api_key.id":
		return key.ID, true
	case "http.api_key.workspace_id":
		return key.WorkspaceID, true
	case "http.api_key.name":
		return key.Name, true
	case "http.api_key.access":
		return string(key.Preset), true
	case passageKey:
		return p, true
	}
	return nil, false
}

// inherit has facts say what an earlier block has seen, and what is no longer to
// be seen in the request itself.
func (p *passage) inherit(facts *authn.Facts) {
	facts.Before = &p.pass
	facts.OtherMethod = facts.OtherMethod || p.otherMethod
	facts.OtherPath = facts.OtherPath || p.otherPath
	facts.EarlyData = facts.EarlyData || p.earlyData
	facts.Browser = facts.Browser || p.browser
}

// retract takes back what the blocks up to this one have said of the key's end:
// it is for the one that comes last to say.
func (p *passage) retract(header http.Header) {
	for ; p != nil; p = p.before {
		if p.own == nil {
			continue
		}
		for i, name := range announcements {
			if p.own[i] != nil {
				delete(header, name)
			}
		}
		p.own = nil
	}
}

// begin notes that a block lets a request pass.
func (p *passage) begin(block *Auth, d *authn.Decision, facts *authn.Facts, first *passage) {
	p.block = block
	p.pass = authn.Pass{Key: d.Key, Action: d.Action, Limit: d.Limit, Before: facts.Before}
	p.otherMethod, p.otherPath, p.earlyData, p.browser = facts.OtherMethod, facts.OtherPath, facts.EarlyData, facts.Browser
	if first == nil {
		p.last = p
		return
	}
	p.before, first.last = first.last, p
}

// identify tells everything behind this block whose key it is, in the headers of
// the earlier blocks too.
func (p *passage) identify(r *http.Request, repl *caddy.Replacer) {
	for at := p; at != nil; at = at.before {
		at.setHeaders(r.Header)
	}
	repl.Set("http.auth.user.id", p.pass.Key.ID)
	if p.before == nil {
		repl.Map(p.placeholder)
	}
}

func (p *passage) setHeaders(header http.Header) {
	// One array for three headers. Each slice has room for its own value only,
	// and belongs to this request: Caddy edits header values in place.
	key := p.pass.Key
	p.identity = [3]string{key.WorkspaceID, key.ID, string(key.Preset)}
	header[p.block.WorkspaceHeader] = p.identity[0:1:1]
	header[p.block.KeyIDHeader] = p.identity[1:2:2]
	header[p.block.AccessHeader] = p.identity[2:3:3]
}
