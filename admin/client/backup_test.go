package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/admin/client/clienttest"
)

// A backup of one gateway can be restored on another, even without a known size, or
// with a client that has a timeout.
func TestClient_backup(t *testing.T) {
	c := clienttest.NewServer(t).Client()
	kept, ended := create(t, c, "acme", "Zapier production"), create(t, c, "acme", "Warehouse sync")
	must[client.Revocation](t)(c.RevokeKey(t.Context(), "acme", ended.Key.ID, ""))
	taken := must[*client.Backup](t)(c.Backup(t.Context()))
	defer taken.Close()
	content := must[[]byte](t)(io.ReadAll(taken))
	equal(t, "size", taken.Size, int64(len(content)))

	for _, size := range []int64{0, taken.Size} {
		other := clienttest.NewServer(t).Client()
		restored := must[client.Restoration](t)(other.Restore(t.Context(), io.LimitReader(bytes.NewReader(content), taken.Size), client.RestoreOptions{Size: size}))
		equal(t, "keys", restored.Restored.Keys, 2)
		if !strings.Contains(restored.Warning, "revoke them again") {
			t.Errorf("got the warning %q, want one about what was revoked after the backup", restored.Warning)
		}
		equal(t, "kept", must[client.Key](t)(other.ShowKey(t.Context(), "acme", kept.Key.ID)).Status, client.Active)
		equal(t, "ended", must[client.Key](t)(other.ShowKey(t.Context(), "acme", ended.Key.ID)).Status, client.Revoked)
		again := must[client.Restoration](t)(other.Restore(t.Context(), bytes.NewReader(content), client.RestoreOptions{Quarantine: true}))
		equal(t, "quarantined", again.Restored.Quarantined, 1)
	}
	_, err := c.Restore(t.Context(), strings.NewReader("not a backup"), client.RestoreOptions{})
	equal(t, "not a backup", codeOf(err), client.CodeInvalidBackup)
}

// A truncated backup is an error.
func TestClient_backupCut(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "the beginning")
	}))
	defer server.Close()
	taken := must[*client.Backup](t)((&client.Client{BaseURL: server.URL}).Backup(t.Context()))
	defer taken.Close()
	if _, err := io.ReadAll(taken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got error %v, want io.ErrUnexpectedEOF", err)
	}
}

// The HTTP client's timeout ends slow calls but not backups, which only their
// context ends.
func TestClient_timeout(t *testing.T) {
	begun := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "begin")
		_ = http.NewResponseController(w).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	}))
	defer server.Close()
	const timeout = 50 * time.Millisecond
	c := &client.Client{BaseURL: server.URL, HTTP: &http.Client{Timeout: timeout}}
	var expired interface{ Timeout() bool }
	if _, err := c.Health(t.Context()); !errors.As(err, &expired) || !expired.Timeout() {
		t.Errorf("Health: got error %v, want a timeout", err)
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	taken := must[*client.Backup](t)(c.Backup(ctx))
	defer taken.Close()
	<-begun
	time.AfterFunc(2*timeout, cancel)
	if _, err := io.ReadAll(taken); !errors.Is(err, context.Canceled) {
		t.Errorf("Backup: got error %v, want it to end with its context alone", err)
	}
}
