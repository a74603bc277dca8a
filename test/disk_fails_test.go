package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestDisk_noInodes takes all inodes of the store's disk, which then has space, but for no
// file. Changes are refused, and nothing is lost.
func TestDisk_noInodes(t *testing.T) {
	t.Parallel()
	s, disk := startOnDisk(t, "size=256m,nr_inodes=200")
	cached, token := s.Create("acme", "Warehouse sync", "full_access")
	s.wantStatus(t, token, 200)
	_, coldToken := s.Create("acme", "Zapier production", "full_access")

	ballast := filepath.Join(disk, "ballast")
	must(t, os.Mkdir(ballast, 0o700))
	for i := 0; ; i++ {
		err := os.WriteFile(filepath.Join(ballast, fmt.Sprint(i)), nil, 0o600)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		must(t, err)
	}
	s.importMany(t, 1)
	s.wantRefusedChanges(t, cached, "no_space")
	_, err := s.Keys().RevokeKey(t.Context(), cached.WorkspaceID, cached.ID, "")
	if err == nil || !strings.Contains(err.Error(), "inodes") {
		t.Errorf("got %v, want a refusal that says inodes", err)
	}
	s.wantStatus(t, token, 200)
	s.wantStatus(t, coldToken, 200)
	s.wantCleanStop(t)
	if out, err := s.runRefused(filepath.Join(s.Dir, "Caddyfile")); err == nil || !strings.Contains(out, "inodes") {
		t.Errorf("starting without inodes: got %v, want an error that says inodes:\n%s", err, out)
	}

	must(t, os.RemoveAll(ballast))
	s.restart(gatewayConfig)
	s.wantStatus(t, coldToken, 200)
	s.importMany(t, 2)
	s.Revoke(cached)
	s.wantStatus(t, token, 401)
}

// TestDisk_fails lets a write fail that nothing has foreseen, and after which Badger can
// neither be read nor written. The server lives, passes what it has in memory and nothing
// else, and stops cleanly. After a restart, everything acknowledged is there.
func TestDisk_fails(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	cached, token := s.Create("acme", "Warehouse sync", "full_access")
	s.wantStatus(t, token, 200)
	_, coldToken := s.Create("acme", "Zapier production", "full_access")
	revoked, revokedToken := s.Create("acme", "Old export job", "full_access")
	s.Revoke(revoked)

	logs, err := filepath.Glob(filepath.Join(s.Store, "*.mem"))
	must(t, err)
	var n int
	_, err = fmt.Sscanf(filepath.Base(logs[len(logs)-1]), "%05d.mem", &n)
	must(t, err)
	next := filepath.Join(s.Store, fmt.Sprintf("%05d.mem", n+1))
	must(t, os.Mkdir(next, 0o700))
	round := 0
	s.Await("the store to fail", func() bool {
		round++
		s.importMany(t, round)
		return !s.Healthy()
	})

	for range 3 {
		s.wantStatus(t, token, 200)
		s.wantStatus(t, coldToken, 200, 503)
		s.wantStatus(t, revokedToken, 401, 503)
		s.wantStatus(t, gatewaytest.OtherToken(token), 401, 503)
		s.wantRefusedChanges(t, cached, "store_unavailable")
		if s.Healthy() {
			t.Error("healthz answers 200, want 503")
		}
	}
	if want := "the key store's files could not be written"; !strings.Contains(s.Log.Troubles(), want) {
		t.Errorf("the log does not say %q:\n%s", want, s.Log.Troubles())
	}
	s.wantCleanStop(t)

	must(t, os.Remove(next))
	s.restart(gatewayConfig)
	s.wantStatus(t, token, 200)
	s.wantStatus(t, coldToken, 200)
	s.wantStatus(t, revokedToken, 401)
	s.Revoke(cached)
	s.wantStatus(t, token, 401)
}

// importMany imports more than one of Badger's memtables has room for, or not all of it.
// Each round is of other keys.
func (s *server) importMany(t *testing.T, round int) {
	t.Helper()
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for i := range 8000 {
		must(t, encoder.Encode(client.ImportLine{
			WorkspaceID: fmt.Sprintf("workspace-%d", i%50), Name: fmt.Sprintf("%060d-%d", i, round), Owner: strings.Repeat("o", 70), Preset: client.ReadOnly,
			TokenSHA256: fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, round, i))),
		}))
	}
	_, _ = s.Keys().Import(t.Context(), &lines, client.ImportOptions{})
}
