package caddymodule

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// parseGlobalOption parses the global option. Syntax:
//
//	api_keys {
//	    store badger {
//	        path       <directory>
//	        cache_size <keys>
//	    }
//	    token_prefix         <prefix>
//	    expires_in           <duration>
//	    vague_names          refuse|allow
//	    max_active_keys      <number>
//	    audit_retention      <duration>
//	    max_changes          <changes> <window>
//	    last_used_resolution <duration>
//	    backup_key           <placeholder>
//	}
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // consume the option's name
	if existing != nil {
		return nil, d.Err("api_keys stands here a second time: one process has one set of keys, put everything into one block")
	}
	if err := onlyBlock(d); err != nil {
		return nil, err
	}
	var app App
	err := parseBlock(d, "api_keys", options{
		"store":                func() error { return parseStore(d, &app.Store) },
		"token_prefix":         text(d, &app.TokenPrefix, "<prefix>", apikey.ValidatePrefix),
		"expires_in":           duration(d, &app.ExpiresIn),
		"vague_names":          choice(d, &app.VagueNames, refuse, allow),
		"max_active_keys":      number(d, &app.MaxActiveKeys),
		"audit_retention":      duration(d, &app.AuditRetention),
		"max_changes":          maxChanges(d, &app.MaxChanges),
		"last_used_resolution": duration(d, &app.LastUsedResolution),
		"backup_key":           text(d, &app.BackupKey, "<placeholder>", nil),
	})
	if err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: appName, Value: caddyconfig.JSON(&app, nil)}, nil
}

func parseStore(d *caddyfile.Dispenser, store *Store) error {
	if !d.AllArgs(&store.Module) {
		return d.Err("store takes the kind of store: write store badger")
	}
	if store.Module != "badger" {
		return d.Errf("store %q: the only kind of store is badger", store.Module)
	}
	return parseBlock(d, "store", options{
		"path":       text(d, &store.Path, "<directory>", nil),
		"cache_size": number(d, &store.CacheSize),
	})
}

// parseAuth parses the directive api_key_auth. Syntax:
//
//	api_key_auth [<matcher>] {
//	    workspace_header <name>
//	    key_id_header    <name>
//	    access_header    <name>
//	    realm            <realm>
//	    read_methods     <method...>
//	    read_paths       <path...>
//	    rate_limit       read|write <requests> <window>
//	    whoami           <path>
//	    browsers         refuse|allow
//	    forward_token
//	}
func parseAuth(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	d, h := helper.Dispenser, new(Auth)
	d.Next() // consume the directive's name
	if err := onlyBlock(d); err != nil {
		return nil, err
	}
	start := *d
	err := parseBlock(d, "api_key_auth", options{
		"workspace_header": text(d, &h.WorkspaceHeader, "<name>", validateHeader),
		"key_id_header":    text(d, &h.KeyIDHeader, "<name>", validateHeader),
		"access_header":    text(d, &h.AccessHeader, "<name>", validateHeader),
		"realm":            text(d, &h.Realm, "<realm>", validateRealm),
		"read_methods":     list(d, &h.ReadMethods, "<method...>", validateMethod),
		"read_paths":       list(d, &h.ReadPaths, "<path...>", validateReadPath),
		"rate_limit read":  rateLimit(d, &h.RateLimit.Read),
		"rate_limit write": rateLimit(d, &h.RateLimit.Write),
		"whoami":           text(d, &h.Whoami, "<path>", validateWhoami),
		"browsers":         choice(d, &h.Browsers, refuse, allow),
		"forward_token":    flag(d, &h.ForwardToken),
	})
	if err != nil {
		return nil, err
	}
	if err := h.checkDistinct(); err != nil {
		return nil, start.WrapErr(err)
	}
	return h, nil
}

// parseAdmin parses the directive api_key_admin. Syntax:
//
//	api_key_admin [<matcher>] {
//	    base_path  <path>
//	    token      <token> | token_file <file> | trust_upstream_auth
//	    workspace  <placeholder>
//	    actor      <placeholder>
//	    test_url   <address>
//	}
func parseAdmin(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	d, h := helper.Dispenser, new(Admin)
	d.Next() // consume the directive's name
	if err := onlyBlock(d); err != nil {
		return nil, err
	}
	start := *d
	err := parseBlock(d, "api_key_admin", options{
		"base_path":           text(d, &h.BasePath, "<path>", validateBasePath),
		"token":               text(d, &h.Token, "<token>", validateToken),
		"token_file":          text(d, &h.TokenFile, "<file>", nil),
		"trust_upstream_auth": flag(d, &h.TrustUpstreamAuth),
		"workspace":           text(d, &h.Workspace, "<placeholder>", validateWorkspace),
		"actor":               text(d, &h.Actor, "<placeholder>", nil),
		"test_url":            text(d, &h.TestURL, "<address>", validateTestURL),
	})
	if err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, start.WrapErr(err)
	}
	return h, nil
}

// onlyBlock refuses values behind a name that takes a block alone.
func onlyBlock(d *caddyfile.Dispenser) error {
	if name := d.Val(); d.NextArg() {
		return d.Errf("%s takes options in a block, and no value: %q", name, d.Val())
	}
	return nil
}

// options are the lines that a block takes, by their first word, or their first
// two where the second says which of several it is.
type options map[string]func() error

// haveTwoWords reports whether there are options whose first word is this.
func (o options) haveTwoWords(first string) bool {
	for name := range o {
		if strings.HasPrefix(name, first+" ") {
			return true
		}
	}
	return false
}

// parseBlock parses the lines of a block, each at most once and in any order.
func parseBlock(d *caddyfile.Dispenser, block string, known options) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		parse, ok := known[name]
		if !ok && known.haveTwoWords(name) && d.NextArg() {
			name += " " + d.Val()
			parse, ok = known[name]
		}
		if !ok {
			return d.Errf("%s has no option %q: it takes %s", block, name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if seen[name] {
			return d.Errf("%s states %s a second time", block, name)
		}
		seen[name] = true
		if err := parse(); err != nil {
			return err
		}
		if following := *d; following.Next() && following.Val() == "{" && following.Line() == d.Line() {
			return d.Errf("%s takes no block", name)
		}
	}
	return nil
}

// text parses a line with one word.
func text(d *caddyfile.Dispenser, into *string, form string, validate func(string) error) func() error {
	return func() error {
		name := d.Val()
		if !d.AllArgs(into) || *into == "" {
			return d.Errf("%s takes one value: %s %s", name, name, form)
		}
		if validate == nil {
			return nil
		}
		return located(d, name, validate(*into))
	}
}

// list parses a line with one word or more.
func list(d *caddyfile.Dispenser, into *[]string, form string, validate func(string) error) func() error {
	return func() error {
		name := d.Val()
		*into = d.RemainingArgs()
		if len(*into) == 0 {
			return d.Errf("%s takes one value or more: %s %s", name, name, form)
		}
		for _, value := range *into {
			if err := validate(value); err != nil {
				return located(d, name, err)
			}
		}
		return nil
	}
}

// choice parses a line with one of two words.
func choice(d *caddyfile.Dispenser, into *string, values ...string) func() error {
	return func() error {
		name := d.Val()
		if !d.AllArgs(into) {
			return d.Errf("%s takes one value: %s", name, strings.Join(values, " or "))
		}
		return located(d, "", oneOf(name, *into, values...))
	}
}

// number parses a line with a whole number above zero.
func number(d *caddyfile.Dispenser, into *int) func() error {
	return func() error {
		name, value := d.Val(), ""
		if !d.AllArgs(&value) {
			return d.Errf("%s takes one number, such as %s 100", name, name)
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return d.Errf("%s: %q is not a whole number above zero, such as 100", name, value)
		}
		*into = n
		return nil
	}
}

// duration parses a line with a duration above zero.
func duration(d *caddyfile.Dispenser, into *caddy.Duration) func() error {
	return func() error {
		name, value := d.Val(), ""
		if !d.AllArgs(&value) {
			return d.Errf("%s takes one duration, such as %s 90d", name, name)
		}
		parsed, err := caddy.ParseDuration(value)
		if err != nil || parsed <= 0 {
			return d.Errf("%s: %q is not a duration above zero, such as 90d or 1h30m", name, value)
		}
		*into = caddy.Duration(parsed)
		return nil
	}
}

// rateLimit parses the rest of a line with a number of requests and a window.
func rateLimit(d *caddyfile.Dispenser, into **RateLimit) func() error {
	return func() error {
		var requests, window string
		if !d.AllArgs(&requests, &window) {
			return d.Err("rate_limit takes read or write, a number of requests and a window: rate_limit read 60 1m")
		}
		n, err := strconv.Atoi(requests)
		if err != nil {
			return d.Errf("rate_limit: %q is not a number of requests", requests)
		}
		length, err := caddy.ParseDuration(window)
		if err != nil {
			return d.Errf("rate_limit: %q is not a window, such as 1m", window)
		}
		*into = &RateLimit{Requests: n, Window: caddy.Duration(length)}
		return located(d, "rate_limit", (*into).validate())
	}
}

// maxChanges parses a line with a number of changes and a window.
func maxChanges(d *caddyfile.Dispenser, into **MaxChanges) func() error {
	return func() error {
		var number, window string
		if !d.AllArgs(&number, &window) {
			return d.Err("max_changes takes a number of changes and a window: max_changes 120 1m")
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			return d.Errf("max_changes: %q is not a number of changes", number)
		}
		length, err := caddy.ParseDuration(window)
		if err != nil {
			return d.Errf("max_changes: %q is not a window, such as 1m", window)
		}
		*into = &MaxChanges{Changes: n, Window: caddy.Duration(length)}
		return located(d, "max_changes", (*into).validate())
	}
}

// flag parses a line with nothing but its name.
func flag(d *caddyfile.Dispenser, into *bool) func() error {
	return func() error {
		if name := d.Val(); d.NextArg() {
			return d.Errf("%s takes no value", name)
		}
		*into = true
		return nil
	}
}

// located adds to an error which option it is about, and where that stands.
func located(d *caddyfile.Dispenser, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case name == "":
		return d.WrapErr(err)
	}
	return d.Errf("%s: %v", name, err)
}
