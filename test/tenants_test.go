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
)

// TestChanges_limited holds that a workspace's own administrator is held up by the
// limit of changes, and nobody else is; and that keys can be revoked all the same.
func TestChanges_limited(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.env = []string{"TEST_ADMIN_TOKEN=an-admin-token-of-the-test"}
	must(t, os.WriteFile(s.dir+"/admin-token", []byte("an-admin-token-of-the-test"), 0o600))
	s.run(mountConfig)
	s.awaitReady()
	key, token := s.create("acme", "Warehouse sync", "full_access")
	site := httpClient{"HTTP/1.1", "http://" + s.Plain, http.DefaultClient}
	const most = 120
	send := func(mount, ws, call string) answer {
		return site.send(t, "POST", mount+"/workspaces/"+ws+call, nil, "X-Workspace", ws)
	}
	for i := range most {
		if got := send("/pinned", "acme", []string{"/suspend", "/resume"}[i%2]); got.status != 200 {
			t.Fatalf("change %d: got %d %s, want 200", i, got.status, got.body)
		}
	}
	got := send("/pinned", "acme", "/suspend")
	wait, err := strconv.Atoi(got.header.Get("Retry-After"))
	if got.status != 429 || err != nil || wait < 1 || wait > 60 {
		t.Errorf("one more: got %d %s with Retry-After %q, want 429 and up to a minute", got.status, got.body, got.header.Get("Retry-After"))
	}
	if got := send("/pinned", "globex", "/suspend"); got.status != 200 {
		t.Errorf("another workspace: got %d %s, want 200", got.status, got.body)
	}
	if got := send("/trusted", "acme", "/resume"); got.status != 200 {
		t.Errorf("a mount for all workspaces: got %d %s, want 200", got.status, got.body)
	}
	s.wantStatus(t, token, 200)
	if got := send("/pinned", "acme", "/keys/"+key.ID+"/revoke"); got.status != 200 {
		t.Errorf("revoking: got %d %s, want 200", got.status, got.body)
	}
	s.wantStatus(t, token, 401)
}

// TestDisk_reserve fills the store's disk until nothing can be created any more, and
// holds that access can be taken away still.
func TestDisk_reserve(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	disk := smallDisk(t, s.dir)
	s.Store = filepath.Join(disk, "keys")
	s.run(gatewayConfig)
	s.awaitReady()
	one, oneToken := s.create("acme", "Warehouse sync", "full_access")
	_, leaked := s.create("acme", "Zapier production", "full_access")
	_, other := s.create("acme", "Old export job", "full_access")
	_, suspended := s.create("globex", "Till", "full_access")
	ctx := context.Background()

	ballast, err := os.Create(filepath.Join(disk, "ballast"))
	must(t, err)
	for block := make([]byte, 1<<20); ; {
		if _, err = s.keys().Resume(ctx, "nobody"); err != nil {
			break
		}
		_, err = ballast.Write(block)
		must(t, err)
	}
	wantCode(t, err, "no_space")
	for range 20 { // what is refused does not use up the rest
		_, err := s.keys().CreateKey(ctx, "acme", client.CreateRequest{Name: "One more", Preset: "read_only"})
		wantCode(t, err, "no_space")
	}
	_, err = s.keys().RevokeKey(ctx, "acme", one.ID, "leaked")
	must(t, err)
	s.wantStatus(t, oneToken, 401)
	_, err = s.keys().RevokeToken(ctx, leaked, "found")
	must(t, err)
	s.wantStatus(t, leaked, 401)
	_, err = s.keys().RevokeAll(ctx, "acme", "left")
	must(t, err)
	s.wantStatus(t, other, 401)
	_, err = s.keys().Suspend(ctx, "globex", "unpaid")
	must(t, err)
	s.wantStatus(t, suspended, 403)

	// It starts so as well.
	s.stop()
	s.restart(gatewayConfig)
	s.wantStatus(t, oneToken, 401)
	s.wantStatus(t, suspended, 403)
	must(t, errors.Join(ballast.Close(), os.Remove(ballast.Name())))
	_, err = s.keys().Resume(ctx, "globex")
	must(t, err)
	s.wantStatus(t, suspended, 200)
}
