package caddymodule

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/agiled/caddy-api-keys/internal/authn"
)

// passage is a request that an api_key_auth block let pass. It is one allocation,
// because allocations are most of what the check costs.
type passage struct {
	response response
	stream   stream    // the response and the request's body, in flight
	identity [4]string // the values of the identity headers
	limits   [2]string // those of the rate limit headers
	block    *Auth     // that let it pass
	pass     authn.Pass
	// assertion is what the block has signed, if anything.
	assertion string

	// What the block saw and may have removed.
	otherMethod, otherPath, earlyData, browser bool

	before *passage // of the block before this one; nil for the first block
	last   *passage // of the latest block; only the first passage has it
}

// passageKey is how a block asks the request's variables whether another block came
// before it. Because of its brace, no placeholder can spell it.
const passageKey = "api_key_auth.passage}"

// firstPassage returns the passage of the first block that let a request pass, or
// nil. It is found among Caddy's variables, which belong to the request. A value in the
// request's context would cost a copy of it, and asking the placeholders, all the names
// that they know.
func firstPassage(r *http.Request) *passage {
	first, _ := caddyhttp.GetVar(r.Context(), passageKey).(*passage)
	return first
}

// placeholder resolves the placeholders of a request that passed.
func (p *passage) placeholder(name string) (any, bool) {
	switch key := p.pass.Key; name {
	case "http.api_key.id":
		return key.ID(), true
	case "http.api_key.workspace_id":
		return key.WorkspaceID(), true
	case "http.api_key.name":
		return key.Name(), true
	case "http.api_key.access":
		return string(key.Preset()), true
	}
	return nil, false
}

// addTo adds to the facts what earlier blocks have seen, which may no longer be
// visible in the request itself.
func (p *passage) addTo(facts *authn.Facts) {
	facts.Before = &p.pass
	facts.OtherMethod = facts.OtherMethod || p.otherMethod
	facts.OtherPath = facts.OtherPath || p.otherPath
	facts.EarlyData = facts.EarlyData || p.earlyData
	facts.Browser = facts.Browser || p.browser
}

// removeKeyEndHeaders takes back what the blocks up to this one have said about
// the key's end: the last block says it.
func (p *passage) removeKeyEndHeaders(header http.Header) {
	for ; p != nil; p = p.before {
		p.response.removeKeyEndHeaders(header)
	}
}

// begin records that a block lets a request pass.
func (p *passage) begin(block *Auth, d *authn.Decision, facts *authn.Facts, first *passage) {
	p.block = block
	p.pass = authn.Pass{Key: d.Key, Action: d.Action, Limit: d.KeyQuota.Limit, WorkspaceLimit: d.WorkspaceQuota.Limit, Before: facts.Before}
	p.otherMethod, p.otherPath, p.earlyData, p.browser = facts.OtherMethod, facts.OtherPath, facts.EarlyData, facts.Browser
	if first == nil {
		p.last = p
		return
	}
	p.before, first.last = first.last, p
}

// identify tells the handlers that follow whose key it is, including in the headers that
// earlier blocks set.
func (p *passage) identify(r *http.Request, repl *caddy.Replacer) {
	p.setHeaders(r.Header)
	repl.Set("http.auth.user.id", p.pass.Key.ID())
	if p.before == nil {
		repl.Map(p.placeholder)
		caddyhttp.SetVar(r.Context(), passageKey, p)
	}
}

// setHeaders sets the identity headers of this block and of the earlier ones. Where two
// blocks sign assertions for the same header, the later one's counts.
func (p *passage) setHeaders(header http.Header) {
	if p.before != nil {
		p.before.setHeaders(header)
	}
	// One array for all headers. Each slice has the capacity for its own value
	// only, and belongs to this request: Caddy edits header values in place.
	key := p.pass.Key
	p.identity = [4]string{key.WorkspaceID(), key.ID(), string(key.Preset()), p.assertion}
	header[p.block.WorkspaceHeader] = p.identity[0:1:1]
	header[p.block.KeyIDHeader] = p.identity[1:2:2]
	header[p.block.AccessHeader] = p.identity[2:3:3]
	if p.assertion != "" {
		header[p.block.Assertion.Header] = p.identity[3:4:4]
	}
}

// removeToken removes the headers in which this block and the earlier ones take the
// token, and which they may have left for the upstream.
func (p *passage) removeToken(header http.Header) {
	for ; p != nil; p = p.before {
		p.block.removeToken(header)
	}
}

// withdraw removes the identity headers of all blocks, and the token. An api_key_auth in the
// error routes sets the identity headers again.
func (p *passage) withdraw(r *http.Request) {
	if p == nil {
		return
	}
	p = p.latest()
	p.removeToken(r.Header)
	for ; p != nil; p = p.before {
		delete(r.Header, p.block.WorkspaceHeader)
		delete(r.Header, p.block.KeyIDHeader)
		delete(r.Header, p.block.AccessHeader)
		if p.assertion != "" {
			delete(r.Header, p.block.Assertion.Header)
		}
	}
}

// latest returns the passage of the latest block.
func (p *passage) latest() *passage {
	for p.before != nil {
		p = p.before
	}
	return p.last
}
