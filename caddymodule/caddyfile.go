package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// parseGlobalOption parses the global option api_keys. Syntax:
//
//	api_keys {
//	    store badger|etcd { ... }
//	    token_prefix         <prefix>
//	    foreign_tokens       refuse|accept
//	    expires_in           <duration>
//	    vague_names          refuse|allow
//	    max_active_keys      <number>
//	    audit_retention      <duration>
//	    max_changes          <changes> <window>
//	    last_used_resolution <duration>
//	    backup_key           <placeholder>
//	    encryption_key       <placeholder> [<placeholder>]
//	    webhook <address> { ... }
//	}
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // consume the option's name
	if existing != nil {
		return nil, d.Err("api_keys is configured twice: put everything in one block")
	}
	if err := onlyBlock(d); err != nil {
		return nil, err
	}
	var app App
	err := parseBlock(d, "api_keys", options{
		"store":                func() error { return parseStore(d, &app.Store) },
		"token_prefix":         text(d, &app.TokenPrefix, "<prefix>", apikey.ValidatePrefix),
		"foreign_tokens":       choice(d, &app.ForeignTokens, refuse, accept),
		"expires_in":           duration(d, &app.ExpiresIn),
		"vague_names":          choice(d, &app.VagueNames, refuse, allow),
		"max_active_keys":      number(d, &app.MaxActiveKeys),
		"audit_retention":      duration(d, &app.AuditRetention),
		"max_changes":          maxChanges(d, &app.MaxChanges),
		"last_used_resolution": duration(d, &app.LastUsedResolution),
		"backup_key":           text(d, &app.BackupKey, "<placeholder>", nil),
		"encryption_key":       encryptionKeys(d, &app.EncryptionKeys),
		"webhook":              func() error { return parseWebhook(d, &app.Webhooks) },
	}, "webhook")
	if err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: appName, Value: caddyconfig.JSON(&app, nil)}, nil
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
//	    rate_limit       read|write|workspace <requests> <window> [per_fleet]
//	    whoami           <path>
//	    browsers         refuse|allow
//	    token_header     <name>
//	    forward_token
//	    assertion { ... }
//	}
func parseAuth(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	d, h := helper.Dispenser, new(Auth)
	d.Next() // consume the directive's name
	if err := onlyBlock(d); err != nil {
		return nil, err
	}
	start := *d
	err := parseBlock(d, "api_key_auth", options{
		"workspace_header":     text(d, &h.WorkspaceHeader, "<name>", validateHeader),
		"key_id_header":        text(d, &h.KeyIDHeader, "<name>", validateHeader),
		"access_header":        text(d, &h.AccessHeader, "<name>", validateHeader),
		"realm":                text(d, &h.Realm, "<realm>", validateRealm),
		"read_methods":         list(d, &h.ReadMethods, "<method...>", validateMethod),
		"read_paths":           list(d, &h.ReadPaths, "<path...>", validateReadPath),
		"rate_limit read":      rateLimit(d, &h.RateLimit.Read),
		"rate_limit write":     rateLimit(d, &h.RateLimit.Write),
		"rate_limit workspace": rateLimit(d, &h.RateLimit.Workspace),
		"whoami":               text(d, &h.Whoami, "<path>", validateWhoami),
		"browsers":             choice(d, &h.Browsers, refuse, allow),
		"token_header":         text(d, &h.TokenHeader, "<name>", validateTokenHeader),
		"forward_token":        flag(d, &h.ForwardToken),
		"assertion":            func() error { return parseAssertion(d, &h.Assertion) },
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
//	    page { ... }
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
		"page":                func() error { return parsePage(d, &h.Page) },
	})
	if err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, start.WrapErr(err)
	}
	return h, nil
}
