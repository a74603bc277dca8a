package caddymodule

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/version"
)

// said returns the lines of a log with a message.
func said(t *testing.T, log []byte, message string) (lines []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(log) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("%v in the line %s", err, line)
		}
		if fields["msg"] == message {
			lines = append(lines, fields)
		}
	}
	return lines
}

// TestLogs_afterReload: the store outlives configurations, but its messages follow
// the running one's logging.
func TestLogs_afterReload(t *testing.T) {
	const trouble, change = "could not look up a key", "audit event"
	s := serve(t, proxied)
	k := s.create(apikey.FullAccess)
	first, second := s.log, filepath.Join(t.TempDir(), "log")
	s.log = second
	s.mustLoad(proxied)
	s.log = filepath.Join(t.TempDir(), "refused")
	occupied := s.Upstream.Address
	if err := load(s.adapt("http://:{{.Port}} {\n bind 127.0.0.1\n" + proxied + "}\nhttp://" + occupied + " {\n bind 127.0.0.1\n}")); err == nil {
		t.Fatal("got no error, want the configuration to be refused")
	}

	s.create(apikey.ReadOnly)
	if err := s.instance().store.Close(); err != nil {
		t.Fatal(err)
	}
	s.send("GET /", k.bearer()).mustBe(t, 503, bodies[503])
	for message, want := range map[string][2]int{change: {1, 1}, trouble: {0, 1}} {
		got := [2]int{len(said(t, read(t, first), message)), len(said(t, read(t, second), message))}
		if got != want {
			t.Errorf("%s: got %d lines in the first log and %d in the second, want %d", message, got[0], got[1], want)
		}
	}
}

// TestLogs_flood: failures on every request do not fill the disk.
func TestLogs_flood(t *testing.T) {
	s := serve(t, proxied)
	k := s.create(apikey.FullAccess)
	key := "/api-keys/workspaces/" + k.WorkspaceID + "/keys/" + k.ID
	if err := os.Rename(s.Store, s.Store+".moved"); err != nil {
		t.Fatal(err)
	}
	wantFew := func(message string, cause func()) {
		t.Helper()
		for range 50 {
			cause()
		}
		lines := said(t, s.logged(), message)
		if len(lines) == 0 {
			t.Errorf("%s: got no line", message)
		}
		for i := range len(lines) - 1 {
			if apart := lines[i+1]["ts"].(float64) - lines[i]["ts"].(float64); apart < 0.999 {
				t.Errorf("%s: got two lines within %.3f s, want one a second at most", message, apart)
			}
		}
	}
	wantFew("the key store failed", func() { s.call("PATCH", key, `{"owner":"Ops"}`).mustBeRefused(t, 503, "store_unavailable") })
	if err := s.instance().store.Close(); err != nil {
		t.Fatal(err)
	}
	wantFew("could not look up a key", func() { s.send("GET /", k.bearer()).mustBe(t, 503, bodies[503]) })
}

// TestLogs_refusals: at debug level only, each refused request has a line with the
// reason, and with the key if the token was complete.
func TestLogs_refusals(t *testing.T) {
	const message = "request refused"
	s := serve(t, proxied)
	k := s.create(apikey.ReadOnly)
	s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
	s.send("POST /", k.bearer()).mustBe(t, 403, bodies[403])
	s.send("GET /", "Authorization: Bearer "+k.token[:20]+"\r\n").mustBe(t, 401, bodies[401])
	lines := said(t, s.logged(), message)
	if len(lines) != 2 {
		t.Fatalf("got %d lines, want 2", len(lines))
	}
	for i, want := range []map[string]any{
		{"logger": "api_keys", "level": "debug", "api_key_result": "read_only", "api_key_id": k.ID, "workspace_id": "acme"},
		{"logger": "api_keys", "level": "debug", "api_key_result": "malformed", "api_key_id": nil, "workspace_id": nil},
	} {
		for field, value := range want {
			if lines[i][field] != value {
				t.Errorf("line %d: got %s %v, want %v", i, field, lines[i][field], value)
			}
		}
	}

	s.log = filepath.Join(t.TempDir(), "log")
	if err := load(bytes.Replace(s.config(proxied), []byte(`"level":"DEBUG"`), []byte(`"level":"INFO"`), 1)); err != nil {
		t.Fatal(err)
	}
	s.send("POST /", k.bearer()).mustBe(t, 403, bodies[403])
	s.accessLog(1)
	if got := said(t, s.logged(), message); len(got) > 0 {
		t.Errorf("got %d lines at level info, want none", len(got))
	}
}

// TestLogs_start: one line says what was opened, and by which version.
func TestLogs_start(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	open := func() (line observer.LoggedEntry, i *instance, closeIt func()) {
		t.Helper()
		core, logs := observer.New(zap.InfoLevel)
		i, closeIt = openTestInstance(t, path, plainSettings, zap.New(core))
		lines := logs.All()
		if len(lines) != 1 {
			t.Fatalf("got %d lines, want 1", len(lines))
		}
		return lines[0], i, closeIt
	}

	made, i, closeIt := open()
	if made.Level != zap.WarnLevel || made.Message != "created an empty key store" {
		t.Errorf("got %v %q of a new store, want a warning", made.Level, made.Message)
	}
	for _, key := range []apikey.Key{newKey(apikey.FullAccess).Key, newKey(apikey.ReadOnly).Key, newKey(apikey.ReadOnly).Key} {
		i.mustChange(t, apikey.Create{Key: key})
		if key.Preset == apikey.FullAccess {
			i.mustChange(t, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID})
		}
	}
	closeIt()

	opened, i, _ := open()
	if opened.Level != zap.InfoLevel || opened.Message != "key store opened" {
		t.Errorf("got %v %q of a store that was there, want %q", opened.Level, opened.Message, "key store opened")
	}
	for _, line := range []observer.LoggedEntry{made, opened} {
		fields := line.ContextMap()
		if fields["path"] != i.store.Path() || fields["version"] != version.Get() {
			t.Errorf("%s: got the path %v and the version %v, want %s and %s", line.Message, fields["path"], fields["version"], i.store.Path(), version.Get())
		}
	}
	want := map[apikey.Status]int{apikey.Active: 2, apikey.Expired: 0, apikey.Revoked: 1}
	if got := opened.ContextMap()["keys"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got the keys %v, want %v", got, want)
	}
}

// TestSampled: a message is logged once a second, and does not hide another one.
func TestSampled(t *testing.T) {
	core, logged := observer.New(zap.DebugLevel)
	at := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	log := sampled(zap.New(core, zap.WithClock(clockAt{&at})))
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {999 * time.Millisecond, 1}, {time.Millisecond, 2}, {0, 2}, {-time.Hour, 3}, {999 * time.Millisecond, 3}, {time.Millisecond, 4}} {
		at = at.Add(step.after)
		log.Error("failed")
		log.With(zap.Int("n", 1)).Error("failed")
		if got := logged.FilterMessage("failed").Len(); got != step.want {
			t.Errorf("%v later: got %d lines, want %d", step.after, got, step.want)
		}
	}
	log.Error("failed otherwise")
	if got := logged.FilterMessage("failed otherwise").Len(); got != 1 {
		t.Errorf("another message: got %d lines, want 1", got)
	}
}

// clockAt is a clock that always shows one time.
type clockAt struct{ at *time.Time }

func (c clockAt) Now() time.Time { return *c.at }

func (c clockAt) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }
