package cli

import (
	"strings"
	"testing"
)

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		"localhost:2019":             "every user",
		"127.0.0.1:2019":             "every user",
		"[::1]:2019":                 "every user",
		":2019":                      "other machines",
		"0.0.0.0:2019":               "other machines",
		"192.0.2.1:2019":             "other machines",
		"unix//run/caddy.sock":       "",
		"unix//run/caddy.sock|0220":  "",
		"unix//run/caddy.sock|0222":  "every user",
		"unix//run/caddy.sock|0666":  "every user",
		"unix+h2c//run/caddy.s|0777": "every user",
		"fd/3":                       "",
	} {
		if got := reachable(listen); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", listen, got, want)
		}
	}
}

func TestConfigFindings(t *testing.T) {
	const (
		safe   = `"grace_period":30000000000`
		socket = `{"admin":{"listen":"unix//run/caddy.sock"},`
	)
	for _, test := range []struct{ name, config, want string }{
		{"safe", socket + `"apps":{"http":{` + safe + `}}}`, "ok: Nothing in the configuration is known to be unsafe."},
		{"no admin endpoint", `{"admin":{"disabled":true,"listen":":2019"},"apps":{"http":{` + safe + `}}}`, "ok: Nothing in the configuration is known to be unsafe."},
		{"the admin endpoint as Caddy has it", `{"apps":{"http":{` + safe + `}}}`,
			"warning: The admin endpoint listens on localhost:2019, which every user of this machine may reach: anybody who can connect can create keys."},
		{"no grace period", socket + `"apps":{}}`, "warning: There is no grace_period: a stop waits for the last request, however long that takes."},
		{"credentials", socket + `"apps":{"http":{` + safe + `,"servers":{"b":{"logs":{"should_log_credentials":true}},"a":{},"c":{"logs":{"should_log_credentials":true}}}}}}`,
			`error: The server "b" writes credentials, including whole tokens, to its access log.` + "\n" +
				`error: The server "c" writes credentials, including whole tokens, to its access log.`},
		{"nothing", `null`, "warning: The admin endpoint listens on localhost:2019"},
		{"no configuration", `{`, "warning: The configuration cannot be read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, f := range configFindings([]byte(test.config), nil) {
				got = append(got, f.Severity+": "+f.Message)
			}
			if got := strings.Join(got, "\n"); !strings.HasPrefix(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}
