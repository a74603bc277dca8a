package admin

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func TestBackup(t *testing.T) {
	a := newAPI(t)
	c := newClient(a.URL)
	kept, _ := a.create(t, "acme", "Zapier production")
	ended, _ := a.create(t, "acme", "Warehouse sync")
	if _, err := c.RevokeKey(t.Context(), "acme", ended, "left"); err != nil {
		t.Fatal(err)
	}
	taken, err := c.Backup(t.Context())
	if err != nil {
		t.Fatalf("Backup: got error %v, want a backup", err)
	}
	defer taken.Close()
	backup, err := io.ReadAll(taken)
	if err != nil {
		t.Fatalf("reading the backup: got error %v, want it whole", err)
	}
	equal(t, "size", taken.Size, int64(len(backup)))
	events := a.send(t, "GET", "/audit", "").body["events"].([]any)
	equal(t, "operation", events[0].(map[string]any)["operation"], any("backup"))

	other := newAPI(t)
	at := start.Add(time.Hour)
	other.at(at)
	restored, err := newClient(other.URL).Restore(t.Context(), bytes.NewReader(backup), client.RestoreOptions{})
	if err != nil {
		t.Fatalf("Restore: got error %v, want none", err)
	}
	equal(t, "restored", restored.Restored, client.Restored{MadeAt: start, Keys: 2, Events: 4})
	if !strings.Contains(restored.Warning, "revoke them again") {
		t.Errorf("got the warning %q, want one about what was revoked after the backup", restored.Warning)
	}
	for id, status := range map[string]string{kept: "active", ended: "revoked"} {
		shown, err := newClient(other.URL).ShowKey(t.Context(), "acme", id)
		equal(t, "ShowKey: error", err, nil)
		equal(t, "status", shown.Status, status)
	}
	events = other.send(t, "GET", "/audit", "").body["events"].([]any)
	equal(t, "operation", events[0].(map[string]any)["operation"], any("restore"))

	again, err := newClient(other.URL).Restore(t.Context(), bytes.NewReader(backup), client.RestoreOptions{Size: int64(len(backup)), Quarantine: true})
	equal(t, "Restore: error", err, nil)
	equal(t, "restored again", again.Restored, client.Restored{MadeAt: start, Known: 2, Quarantined: 1})
	equal(t, "warning", again.Warning, "")
}

func TestBackup_answer(t *testing.T) {
	a := newAPI(t)
	response, err := http.Get(a.URL + "/backup")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "length", response.ContentLength, int64(len(content)))
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
		"Content-Disposition": `attachment; filename="api-keys-20260301T120000Z.backup"`,
	} {
		equal(t, name, response.Header.Get(name), want)
	}
}

func TestRestore_refused(t *testing.T) {
	a := newAPI(t)
	for _, c := range []struct {
		name, path, body, code string
		status                 int
		field                  string
	}{
		{"nothing", "/restore", "", "invalid_backup", 422, ""},
		{"something else", "/restore", `{"name":"Zapier"}`, "invalid_backup", 422, ""},
		{"neither true nor false", "/restore?quarantine=yes", "", "invalid_query", 400, ""},
		{"twice", "/restore?quarantine=true&quarantine=false", "", "invalid_query", 400, ""},
		{"compressed once more", "/restore", "x", "invalid_backup", 422, "Content-Encoding: gzip"},
	} {
		fields := []string{"Content-Type: application/octet-stream"}
		if c.field != "" {
			fields = append(fields, c.field)
		}
		got := a.send(t, "POST", c.path, c.body, fields...)
		if got.status != c.status || got.body["code"] != c.code {
			t.Errorf("%s: got %d %v, want %d %s", c.name, got.status, got.body, c.status, c.code)
		}
	}
	equal(t, "events", len(a.send(t, "GET", "/audit", "").body["events"].([]any)), 0)
}

// A mount for one workspace neither makes nor restores backups, which contain all
// of them.
func TestBackup_pinned(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Workspace = func(*http.Request) string { return "acme" } })
	for method, path := range map[string]string{"GET": "/backup", "POST": "/restore"} {
		if got := a.send(t, method, path, ""); got.status != 403 || got.body["code"] != "workspace_mismatch" {
			t.Errorf("%s: got %d %v, want 403 workspace_mismatch", path, got.status, got.body)
		}
	}
}

// There is no deadline after the end of a body: one that passed while what was read is still
// being worked on would look to the server as if the client had hung up.
func TestExtendedBody_end(t *testing.T) {
	noted := &deadlines{}
	body := extendedBody{io.NopCloser(strings.NewReader("x")), http.NewResponseController(noted)}
	if _, err := io.ReadAll(body); err != nil {
		t.Fatal(err)
	}
	if len(noted.read) < 2 || noted.read[0].IsZero() || !noted.read[len(noted.read)-1].IsZero() {
		t.Errorf("got the deadlines %v, want some, and none in the end", noted.read)
	}
}

// deadlines is a writer that notes the deadlines for reading.
type deadlines struct {
	http.ResponseWriter
	read []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.read = append(d.read, at)
	return nil
}
