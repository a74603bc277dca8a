package test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// TestDisk_full fills the store's disk to the last byte, and holds that keys
// are judged as before, that changes are refused and not half made, and that
// nothing is lost, even if the server is stopped or started meanwhile.
func TestDisk_full(t *testing.T) {
	t.Parallel()
	s, disk := startOnDisk(t, "size=128m")
	cached, cachedToken := s.Create("acme", "Warehouse sync", "full_access")
	s.wantStatus(t, cachedToken, 200)
	_, coldToken := s.Create("acme", "Zapier production", "full_access")
	revoked, revokedToken := s.Create("acme", "Old export job", "full_access")
	s.Revoke(revoked)

	fill(t, filepath.Join(disk, "ballast"))
	wantAll := func() {
		t.Helper()
		s.wantStatus(t, cachedToken, 200)
		s.wantStatus(t, coldToken, 200)
		s.wantStatus(t, revokedToken, 401)
		s.wantStatus(t, gatewaytest.OtherToken(cachedToken), 401)
	}
	wantAll()
	for range 50 { // enough to need more of the disk, were they let through
		s.wantRefusedChanges(t, cached, "no_space")
	}
	wantAll()
	s.wantCleanStop(t)

	out, err := s.runRefused(filepath.Join(s.Dir, "Caddyfile"))
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() <= 0 {
		t.Errorf("starting with a full disk: got %v, want an exit status above 0", err)
	}
	for _, want := range []string{s.Store, "MiB"} {
		if !strings.Contains(out, want) {
			t.Errorf("starting with a full disk: got no %q in:\n%s", want, out)
		}
	}

	must(t, os.Remove(filepath.Join(disk, "ballast")))
	s.restart(gatewayConfig)
	wantAll()
	s.Revoke(cached)
	s.wantStatus(t, cachedToken, 401)
}

// TestDisk_removed takes the store away from under the running server. Nothing that it then
// says may be untrue: it keeps judging what it knows, and it acknowledges no change that
// would be lost.
func TestDisk_removed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(store string) error
	}{
		{"removed", os.RemoveAll},
		{"moved", func(store string) error { return os.Rename(store, store+"-moved") }},
		{"removed and recreated", func(store string) error {
			return errors.Join(os.RemoveAll(store), os.Mkdir(store, 0o700))
		}},
		{"replaced by another store", func(store string) error {
			return errors.Join(os.Rename(store, store+"-moved"), os.CopyFS(store, os.DirFS(store+"-moved")))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, gatewayConfig)
			cached, cachedToken := s.Create("acme", "Warehouse sync", "full_access")
			s.wantStatus(t, cachedToken, 200)
			_, coldToken := s.Create("acme", "Zapier production", "full_access")
			revoked, revokedToken := s.Create("acme", "Old export job", "full_access")
			s.Revoke(revoked)
			must(t, test.do(s.Store))

			s.wantStatus(t, cachedToken, 200)
			s.wantStatus(t, coldToken, 200, 503)
			s.wantStatus(t, revokedToken, 401, 503)
			s.Upstream.Take()
			s.wantStatus(t, gatewaytest.OtherToken(cachedToken), 401, 503)
			s.Upstream.WantNothing(t)
			s.wantRefusedChanges(t, cached, "store_unavailable")
			s.wantCleanStop(t)
		})
	}
}

// TestDisk_unreadable takes the rights to the store away. What is open stays
// usable, and who is root is not stopped by it: a change is made or it is
// refused, and keys are judged by what came of it.
func TestDisk_unreadable(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	key, token := s.Create("acme", "Warehouse sync", "full_access")
	_, coldToken := s.Create("acme", "Zapier production", "full_access")
	s.wantStatus(t, token, 200)
	must(t, os.Chmod(s.Store, 0))
	t.Cleanup(func() { _ = os.Chmod(s.Store, 0o700) })

	s.wantStatus(t, coldToken, 200, 503)
	if _, err := s.Keys().RevokeKey(t.Context(), key.WorkspaceID, key.ID, ""); err != nil {
		wantCode(t, err, "store_unavailable")
		s.wantStatus(t, token, 200)
		return
	}
	s.wantStatus(t, token, 401)
}

// wantStatus checks the status of a request with a token: one of those wanted.
func (s *server) wantStatus(t *testing.T, token string, want ...int) {
	t.Helper()
	got := s.Clients(t)[0].Send(t, "GET", "/public/v1/contacts", nil, "Authorization", "Bearer "+token)
	for _, status := range want {
		if got.Status == status {
			return
		}
	}
	t.Errorf("got status %d %s, want %d", got.Status, got.Body, want)
}

// wantRefusedChanges checks that no key can be made, and none revoked.
func (s *server) wantRefusedChanges(t *testing.T, key client.Key, code string) {
	t.Helper()
	_, err := s.Keys().CreateKey(context.Background(), "acme", client.CreateRequest{Name: "One more", Preset: "read_only"})
	wantCode(t, err, code)
	_, err = s.Keys().RevokeKey(context.Background(), key.WorkspaceID, key.ID, "")
	wantCode(t, err, code)
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if codeOf(err) != code {
		t.Errorf("got %v, want a refusal of code %s", err, code)
	}
}

// wantCleanStop stops the server, and checks that it ended by itself.
func (s *server) wantCleanStop(t *testing.T) {
	t.Helper()
	s.Stop()
	if got := s.Cmd.ProcessState.ExitCode(); got != 0 {
		t.Errorf("got exit status %d, want 0:\n%s", got, s.Log.Tail(3000))
	}
}

// restart runs a server again that has ended.
func (s *server) restart(config string) {
	s.T.Helper()
	s.Exited = make(chan struct{})
	s.Run(config)
	s.AwaitReady()
}

// startOnDisk starts a server whose store is on a disk of its own: see diskWith.
func startOnDisk(t *testing.T, options string) (s *server, disk string) {
	t.Helper()
	s = newServer(t)
	disk = diskWith(t, s.Dir, options)
	s.Store = filepath.Join(disk, "keys")
	s.Run(gatewayConfig)
	s.AwaitReady()
	return s, disk
}

// diskWith returns a folder on a disk of its own, with options of tmpfs.
func diskWith(t *testing.T, dir, options string) string {
	t.Helper()
	disk := filepath.Join(dir, "disk")
	must(t, os.Mkdir(disk, 0o700))
	for _, as := range [][]string{nil, {"sudo", "-n"}} {
		mount := append(as, "mount", "-t", "tmpfs", "-o", options+",mode=0777", "none", disk)
		if exec.Command(mount[0], mount[1:]...).Run() != nil {
			continue
		}
		t.Cleanup(func() {
			umount := append(as, "umount", "-l", disk)
			must(t, exec.Command(umount[0], umount[1:]...).Run())
		})
		return disk
	}
	testenv.Lacks(t, "the right to mount a small disk, as root or with sudo")
	return ""
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	must(t, err)
	defer file.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		n, err := file.Write(block)
		if errors.Is(err, syscall.ENOSPC) {
			block = block[:(len(block)-n)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
