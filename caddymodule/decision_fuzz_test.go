package caddymodule_test

import (
	"strconv"
	"testing"
)

// A request is what a client sent.
type request struct {
	method   string
	path     string // as sent, without the query
	query    string // with its question mark
	fields   [][2]string
	trailers [][2]string
	body     string
	version  int    // of HTTP
	extended string // CONNECT's :protocol
	early    bool   // TLS early data
}

var standardNames = [3]string{"X-Workspace-ID", "X-API-Key-ID", "X-API-Key-Access"}

// fuzzPolicies are the mounts that requests are sent to.
var fuzzPolicies = []struct {
	policy
	config      object
	errorPage   bool    // the site has handle_errors
	outer       *policy // of a block before this one
	outerConfig object
}{
	{policy: policy{names: standardNames, realm: "api", readMethods: []string{"GET", "HEAD", "OPTIONS"}}, config: object{}},
	{
		policy: policy{
			names: [3]string{"x-TENANT", "Api-Key", "X-API-Key-Access"}, realm: "two words, and ';'",
			readMethods: []string{"GET", "QUERY", "OPTIONS"}, browsers: true, tokenHeader: "x-API-Key", forwardToken: true,
		},
		config: object{
			"token_header":     "x-API-Key",
			"workspace_header": "x-TENANT", "key_id_header": "Api-Key", "realm": "two words, and ';'",
			"read_methods": []string{"GET", "QUERY", "OPTIONS"}, "browsers": "allow", "forward_token": true,
		},
	},
	{
		policy: policy{
			names: standardNames, realm: "api", readMethods: []string{"GET", "HEAD", "OPTIONS"},
			readPaths: []string{"/v1/search", "/v1/reports/*", "/v1/é*"}, whoami: "/v1/me", tokenHeader: "X-API-Key",
		},
		config: object{"token_header": "X-API-Key", "read_paths": []string{"/v1/search", "/v1/reports/*", "/v1/é*"}, "whoami": "/v1/me"},
	},
	{
		policy:    policy{names: standardNames, realm: "api", readMethods: []string{"HEAD"}, readPaths: []string{"/v1/*"}},
		config:    object{"read_methods": []string{"HEAD"}, "read_paths": []string{"/v1/*"}},
		errorPage: true,
	},
	{
		policy: policy{names: standardNames, realm: "strict", readMethods: []string{"GET"}, readPaths: []string{"/v1/search"}, forwardToken: true},
		config: object{"realm": "strict", "read_methods": []string{"GET"}, "read_paths": []string{"/v1/search"}, "forward_token": true},
		outer: &policy{
			names: [3]string{"X-Workspace-ID", "X-Tenant", "Api-Key"}, realm: "api",
			readMethods: []string{"GET", "POST", "QUERY"}, whoami: "/v1/me", browsers: true, tokenHeader: "X-API-Key", forwardToken: true,
		},
		outerConfig: object{
			"token_header":  "X-API-Key",
			"key_id_header": "X-Tenant", "access_header": "Api-Key", "read_methods": []string{"GET", "POST", "QUERY"},
			"whoami": "/v1/me", "browsers": "allow", "forward_token": true,
		},
	},
}

// FuzzDecision compares the handler with the model: in everything that a request
// can contain, and everything that is responded and passed on.
func FuzzDecision(f *testing.F) {
	g := newDecisionGateway(f)
	for i, seed := range decisionSeeds() {
		if i%41 == 0 { // TestDecision runs the others
			f.Add(seed)
		}
	}
	f.Fuzz(g.decideBoth)
}

// TestDecision compares the handler with the model for requests of every kind.
func TestDecision(t *testing.T) {
	g := newDecisionGateway(t)
	for i, seed := range decisionSeeds() {
		t.Run(strconv.Itoa(i), func(t *testing.T) { g.decideBoth(t, seed) })
	}
}
