package test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestCommandLine runs the scripts in testdata/cli, which read like a manual.
// Each has a server of its own, whose admin endpoint is at $ADMIN.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/cli/*.txt")
	must(t, err)
	if len(scripts) == 0 {
		t.Fatal("there are no scripts")
	}
	others := map[string]string{
		// A Caddy without the module answers so below /api-keys.
		"STOCK":   answering(t, http.StatusNotFound, "404 page not found\n"),
		"ELSE":    answering(t, http.StatusOK, `{"status":"fine"}`),
		"LIAR":    answering(t, http.StatusOK, `{"key":{"id":"key_01JD0000000000000000000000","token_hint":"agk_…x7Qz","status":"revoked"}}`),
		"HOSTILE": answering(t, http.StatusBadRequest, `{"error":"\u001b[2J\u0007evil"}`),
		"NOWHERE": gatewaytest.Address(t),
		"EMPTY":   withoutKeys(t),
	}
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) {
			t.Parallel()
			s, address := serverFor(t, filepath.Base(script))
			program := binary
			if filepath.Base(script) == "import.txt" { // which sends and receives at the same time
				program = racedBinary(t)
			}
			testscript.Run(t, testscript.Params{
				Files: []string{script},
				Setup: func(env *testscript.Env) error {
					for name, value := range others {
						env.Setenv(name, value)
					}
					env.Setenv("ADMIN", address)
					env.Setenv("STORE", s.Store)
					env.Setenv("CONFIG", filepath.Join(s.Dir, "Caddyfile"))
					env.Setenv("PATH", filepath.Dir(program)+":"+os.Getenv("PATH"))
					env.Setenv("XDG_CONFIG_HOME", env.WorkDir)
					env.Setenv("XDG_DATA_HOME", env.WorkDir)
					env.Setenv("GOGC", "400") // a fifth of a command's time was the collector's
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"status": exitStatus,
					"let":    let,
				},
				RequireExplicitExec: true,
				RequireUniqueNames:  true,
			})
		})
	}
}

// withoutKeys starts a server whose configuration has nothing to do with keys, and
// returns the address of its admin endpoint.
func withoutKeys(t *testing.T) string {
	t.Helper()
	s := newServer(t)
	s.Run("{\n\tadmin {{.Admin}}\n}\n")
	s.Await("the server to answer", func() bool {
		response, err := http.Get("http://" + s.Admin + "/config/")
		return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
	})
	return s.Admin
}

// serverFor returns the server of a script, and the address of its admin
// endpoint.
func serverFor(t *testing.T, script string) (s *server, address string) {
	t.Helper()
	switch script {
	case "socket.txt":
		s = newServer(t)
		socket := filepath.Join(s.Dir, "admin.sock")
		s.Run(strings.Replace(gatewayConfig, "admin {{.Admin}}", "admin unix/"+socket, 1))
		s.awaitSocket(socket)
		return s, "unix/" + socket
	case "origin.txt":
		s = newServer(t)
		s.Run(strings.Replace(gatewayConfig, "admin {{.Admin}}", "admin {{.Admin}} {\n\t\tenforce_origin\n\t}", 1))
		s.Await("the server to answer", func() bool {
			request, err := http.NewRequest(http.MethodGet, "http://"+s.Admin+"/api-keys/healthz", nil)
			must(t, err)
			request.Header.Set("Origin", "http://"+s.Admin)
			response, err := http.DefaultClient.Do(request)
			return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
		})
		return s, s.Admin
	case "signed.txt":
		s = newServer(t)
		s.Env = append(s.Env, "API_KEYS_BACKUP_KEY="+strings.Repeat("a1", 32))
		s.Run(strings.Replace(gatewayConfig, "api_keys {", "api_keys {\n\t\tbackup_key {env.API_KEYS_BACKUP_KEY}", 1))
		s.AwaitReady()
		return s, s.Admin
	case "webhooks.txt":
		good, bad := newHookReceiver(t), newHookReceiver(t)
		bad.secret = good.secret
		bad.say(func(_ hookMessage, w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
		s = start(t, withWebhooks(good.option(), bad.option()), "HOOK_SECRET="+good.secret)
		return s, s.Admin
	case "fleet.txt":
		s = newServer(t)
		s.Run(fleetConfig(etcdtest.Start(t, 1).Endpoints(), "name eu-1"))
		s.AwaitReady()
		return s, s.Admin
	case "names.txt":
		s = newServer(t)
		s.Run(strings.Replace(gatewayConfig, "\tapi_key_auth\n", `	api_key_admin /admin/* {
		base_path /admin
		trust_upstream_auth
		actor {http.request.header.X-Person}
	}
`, 1))
		s.AwaitReady()
		hostile := &client.Client{BaseURL: "http://" + s.Plain + "/admin", HTTP: &http.Client{Transport: person{"\u009b2J\u202emda"}}}
		made, err := hostile.CreateKey(t.Context(), "hostile", client.CreateRequest{Name: "Zapier production", Preset: "read_only"})
		must(t, err)
		_, err = hostile.RevokeKey(t.Context(), "hostile", made.Key.ID, "=cmd() <script>$(reboot)</script>")
		must(t, err)
		return s, s.Admin
	}
	s = start(t, gatewayConfig)
	if script == "usage.txt" {
		used(t, s)
	}
	return s, s.Admin
}

// used makes a key, and waits until requests with it have been counted.
func used(t *testing.T, s *server) {
	t.Helper()
	key, token := s.Create("acme", "Zapier production", client.ReadOnly)
	send := func(method string) {
		request, err := http.NewRequest(method, "http://"+s.Plain, nil)
		must(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		must(t, response.Body.Close())
	}
	for range 5 {
		send(http.MethodGet)
	}
	send(http.MethodPost)
	_, err := s.Keys().RevokeKey(t.Context(), "acme", key.ID, "")
	must(t, err)
	send(http.MethodGet)
	s.Await("the requests to be counted", func() bool {
		usage, err := s.Keys().ShowUsage(t.Context(), "acme", key.ID, 1)
		return err == nil && len(usage) == 1 && usage[0].Refused == 2
	})
}

// answering starts a server that gives one answer to everything, and returns
// its address.
func answering(t *testing.T, status int, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// let sets a variable to what the group of a regular expression matched in the
// output of the last command: let NAME 'pattern'.
func let(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: let NAME 'pattern'")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	match := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(match) != 2 {
		ts.Fatalf("no match for %q with one group", args[1])
	}
	ts.Setenv(args[0], match[1])
}

// exitStatus runs a command and checks its exit status: status COMMAND N.
func exitStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: status 'command' N")
	}
	words := strings.Fields(args[0])
	err := ts.Exec(words[0], words[1:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	}
	if want := args[1]; strconv.Itoa(got) != want {
		ts.Fatalf("%s: got exit status %d, want %s", args[0], got, want)
	}
}
