package caddymodule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestPlaceholders: every option either expands a placeholder on load, expands it
// for each request, or refuses it with its line. None takes it literally. A new
// option must be added here.
func TestPlaceholders(t *testing.T) {
	t.Setenv("EMPTY", "")
	const refused, loaded, requested, flag = "refused", "loaded", "requested", "flag"
	blocks := []struct {
		name    string
		config  string // with %s for the line
		options map[string]string
	}{
		{"api_keys", "{\n api_keys {\n  %s\n }\n}\n", map[string]string{
			"store": refused, "token_prefix": refused, "expires_in": refused, "vague_names": refused, "foreign_tokens": refused, "max_active_keys": refused,
			"audit_retention": refused, "backup_key": loaded, "encryption_key": loaded, "max_changes": refused, "last_used_resolution": refused,
			"webhook": loaded,
		}},
		{"webhook", "{\n api_keys {\n  webhook https://hooks.example.com/ {\n   %s\n  }\n }\n}\n", map[string]string{
			"secret": loaded, "events": refused, "expiring": refused,
		}},
		{"store badger", "{\n api_keys {\n  store badger {\n   %s\n  }\n }\n}\n", map[string]string{
			"path": loaded, "cache_size": refused,
		}},
		{"store etcd", "{\n api_keys {\n  store etcd {\n   %s\n  }\n }\n}\n", map[string]string{
			"endpoints": refused, "prefix": refused, "username": loaded, "password": loaded, "tls": loaded, "path": loaded, "cache_size": refused,
			"mode": refused, "max_staleness": refused, "integrity_key": loaded, "name": loaded,
		}},
		{"api_key_auth", ":8080 {\n api_key_auth {\n  %s\n }\n}\n", map[string]string{
			"workspace_header": refused, "key_id_header": refused, "access_header": refused, "realm": refused, "read_methods": refused,
			"read_paths": refused, "rate_limit read": refused, "rate_limit write": refused, "rate_limit workspace": refused,
			"whoami": refused, "browsers": refused,
			"token_header": refused, "forward_token": flag, "assertion": refused,
		}},
		{"assertion", ":8080 {\n api_key_auth {\n  assertion {\n   %s\n  }\n }\n}\n", map[string]string{
			"issuer": refused, "audience": refused, "lifetime": refused, "header": refused, "jwks_path": refused, "rotate_every": refused, "bind": refused,
		}},
		{"api_key_admin", ":8080 {\n api_key_admin {\n  %s\n }\n}\n", map[string]string{
			"base_path": refused, "token": loaded, "token_file": loaded, "trust_upstream_auth": flag, "workspace": requested, "actor": requested,
			"test_url": refused, "page": refused,
		}},
		{"page", ":8080 {\n api_key_admin {\n  trust_upstream_auth\n  page {\n   %s\n  }\n }\n}\n", map[string]string{
			"title": refused, "logo": refused, "back": refused, "accent": refused, "language": refused,
		}},
		{"api_key_leaks", ":8080 {\n api_key_leaks {\n  %s\n }\n}\n", map[string]string{
			"github_keys": loaded, "action": refused,
		}},
	}
	for _, block := range blocks {
		_, _, err := adapt(fmt.Appendf(nil, block.config, "no_such_option"))
		_, list, _ := strings.Cut(fmt.Sprint(err), "it takes ")
		list, _, _ = strings.Cut(list, ", at ")
		known := strings.Split(list, ", ")
		for _, option := range known {
			if block.options[option] == "" {
				t.Errorf("what does %s make of a placeholder in %s? Add it to this test", block.name, option)
			}
		}
		for option, want := range block.options {
			if !slices.Contains(known, option) {
				t.Errorf("%s has no option %s", block.name, option)
				continue
			}
			line := option + " /{env.NOT_SET}"
			if strings.HasPrefix(option, "rate_limit") {
				line = option + " 10 {env.NOT_SET}"
			}
			switch {
			case block.name == "store etcd":
				line += required(option)
			case option == "webhook":
				line += " {\n   secret whsec_" + strings.Repeat("f6", 16) + "\n  }"
			}
			switch want {
			case flag:
				continue
			case requested:
				line = option + " {env.EMPTY}\n  trust_upstream_auth"
			}
			config, _, err := adapt(fmt.Appendf(nil, block.config, line))
			switch {
			case want == refused && (err == nil || !strings.Contains(err.Error(), "at Caddyfile:")):
				t.Errorf("%s in %s: got %v, want it refused, with its line", line, block.name, err)
			case want != refused && err != nil:
				t.Errorf("%s in %s: got %v, want it taken", line, block.name, err)
			}
			if err != nil {
				continue
			}
			if err := validate(config); (err != nil) != (want == loaded) {
				t.Errorf("%s in %s, loaded: got %v", line, block.name, err)
			} else if want == loaded && !strings.Contains(err.Error(), "{env.NOT_SET}") {
				t.Errorf("%s in %s, loaded: got %v, want the placeholder in it", line, block.name, err)
			}
		}
	}
}

// required returns the lines that an option of store etcd may need, except its own.
func required(option string) (lines string) {
	for _, line := range []string{"endpoints https://10.0.0.1:2379", "integrity_key " + strings.Repeat("a1", 32), "username gw", "password x"} {
		if !strings.HasPrefix(line, option+" ") {
			lines += "\n" + line
		}
	}
	return lines
}

// TestReserved: a reserved name is recognized in any case, one that only begins
// like it is not, and our own defaults are not reserved.
func TestReserved(t *testing.T) {
	for _, name := range []string{"range", "RANGE", "Accept", "accept-encoding", "Content-Foo", "sec-ch-ua", "Proxy-Foo", "X-Forwarded-User", "if-none-match"} {
		if validateHeader(name) == nil {
			t.Errorf("%s: got no error, want it reserved", name)
		}
	}
	for _, name := range []string{"X-Workspace-ID", "X-API-Key-ID", "X-API-Key-Access", "Range-Of-Things", "Acceptor", "X-Tenant", "Iffy", "Security", "X-Remote-User"} {
		if err := validateHeader(name); err != nil {
			t.Errorf("%s: got %v, want it free", name, err)
		}
	}
}
