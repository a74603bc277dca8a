package test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestChanges_limited verifies that a workspace's own administrator is held up by the limit
// of changes, and nobody else is; and that keys can be revoked all the same.
func TestChanges_limited(t *testing.T) {
	t.Parallel()
	s := newRacedServer(t)
	s.Env = []string{"TEST_ADMIN_TOKEN=an-admin-token-of-the-test"}
	must(t, os.WriteFile(s.Dir+"/admin-token", []byte("an-admin-token-of-the-test"), 0o600))
	s.Run(mountConfig)
	s.AwaitReady()
	key, token := s.Create("acme", "Warehouse sync", "full_access")
	site := gatewaytest.Client{Name: "HTTP/1.1", Base: "http://" + s.Plain, Client: http.DefaultClient}
	const most = 120
	send := func(mount, ws, call string) gatewaytest.Answer {
		return site.Send(t, "POST", mount+"/workspaces/"+ws+call, nil, "X-Workspace", ws)
	}
	for i := range most {
		if got := send("/pinned", "acme", []string{"/suspend", "/resume"}[i%2]); got.Status != 200 {
			t.Fatalf("change %d: got %d %s, want 200", i, got.Status, got.Body)
		}
	}
	got := send("/pinned", "acme", "/suspend")
	wait, err := strconv.Atoi(got.Header.Get("Retry-After"))
	if got.Status != 429 || err != nil || wait < 1 || wait > 60 {
		t.Errorf("one more: got %d %s with Retry-After %q, want 429 and up to a minute", got.Status, got.Body, got.Header.Get("Retry-After"))
	}
	if got := send("/pinned", "globex", "/suspend"); got.Status != 200 {
		t.Errorf("another workspace: got %d %s, want 200", got.Status, got.Body)
	}
	if got := send("/trusted", "acme", "/resume"); got.Status != 200 {
		t.Errorf("a mount for all workspaces: got %d %s, want 200", got.Status, got.Body)
	}
	s.wantStatus(t, token, 200)
	if got := send("/pinned", "acme", "/keys/"+key.ID+"/revoke"); got.Status != 200 {
		t.Errorf("revoking: got %d %s, want 200", got.Status, got.Body)
	}
	s.wantStatus(t, token, 401)
}

// TestDisk_reserve fills the store's disk until nothing can be created any more, and
// holds that access can be taken away still.
func TestDisk_reserve(t *testing.T) {
	t.Parallel()
	s, disk := startOnDisk(t, "size=128m")
	one, oneToken := s.Create("acme", "Warehouse sync", "full_access")
	_, leaked := s.Create("acme", "Zapier production", "full_access")
	_, other := s.Create("acme", "Old export job", "full_access")
	_, suspended := s.Create("globex", "Till", "full_access")
	ctx := context.Background()

	ballast, err := os.Create(filepath.Join(disk, "ballast"))
	must(t, err)
	for block := make([]byte, 1<<20); ; {
		if _, err = s.Keys().Resume(ctx, "nobody"); err != nil {
			break
		}
		_, err = ballast.Write(block)
		must(t, err)
	}
	wantCode(t, err, "no_space")
	for range 20 { // what is refused does not use up the rest
		_, err := s.Keys().CreateKey(ctx, "acme", client.CreateRequest{Name: "One more", Preset: "read_only"})
		wantCode(t, err, "no_space")
	}
	_, err = s.Keys().RevokeKey(ctx, "acme", one.ID, "leaked")
	must(t, err)
	s.wantStatus(t, oneToken, 401)
	_, err = s.Keys().RevokeToken(ctx, leaked, "found")
	must(t, err)
	s.wantStatus(t, leaked, 401)
	_, err = s.Keys().RevokeAll(ctx, "acme", "left")
	must(t, err)
	s.wantStatus(t, other, 401)
	_, err = s.Keys().Suspend(ctx, "globex", "unpaid")
	must(t, err)
	s.wantStatus(t, suspended, 403)

	// It starts so as well.
	s.Stop()
	s.restart(gatewayConfig)
	s.wantStatus(t, oneToken, 401)
	s.wantStatus(t, suspended, 403)
	must(t, errors.Join(ballast.Close(), os.Remove(ballast.Name())))
	_, err = s.Keys().Resume(ctx, "globex")
	must(t, err)
	s.wantStatus(t, suspended, 200)
}
