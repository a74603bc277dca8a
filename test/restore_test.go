package test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// craftedBackup returns a backup with lines that somebody else has written, and a
// checksum that is right.
func craftedBackup(t *testing.T, lines ...string) []byte {
	t.Helper()
	lines = append([]string{fmt.Sprintf(`{"caddy_api_keys_backup":{"version":1,"made_at":%d}}`, time.Now().UnixMilli())}, lines...)
	body := strings.Join(lines, "\n") + "\n"
	body += fmt.Sprintf(`{"end":{"lines":%d,"sha256":"%x"}}`+"\n", len(lines), sha256.Sum256([]byte(body)))
	w, err := zstd.NewWriter(nil)
	must(t, err)
	return w.EncodeAll([]byte(body), nil)
}

// craftedKey is the record of a key, with other members.
func craftedKey(n int, members string) string {
	now := time.Now().UnixMilli()
	return fmt.Sprintf(`{"key":{"id":"key_01KJMMBX30%016d","workspace_id":"acme","name":"Crafted %d","preset":"full_access","digest":"%s=","token_hint":"agk_…x7Qz","created_at":%d,"expires_at":%d%s}}`,
		n, n, strings.Repeat(string(rune('A'+n)), 43), now, now+86_400_000, members)
}

// TestRestore_crafted: a backup that somebody has crafted is refused as a whole, and the
// gateway is not affected.
func TestRestore_crafted(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	restore := func(backup []byte) (int, string) {
		t.Helper()
		response, err := http.Post("http://"+s.Admin+"/api-keys/restore", "application/octet-stream", bytes.NewReader(backup))
		must(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		must(t, err)
		return response.StatusCode, string(body)
	}
	const first, second = `key_01KJMMBX300000000000000001`, `key_01KJMMBX300000000000000002`
	for name, lines := range map[string][]string{
		"a cycle":     {craftedKey(1, `,"replaces":"`+second+`"`), craftedKey(2, `,"replaces":"`+first+`","revoked_at":1700000000000`)},
		"a long id":   {craftedKey(1, ""), `{"event":{"id":"evt_01KJMMBX300000000000000001","at":1700000000000,"actor":"x","operation":"create","workspace_id":"acme` + strings.Repeat("x", 256) + `"}}`},
		"an odd time": {craftedKey(1, `,"revoked_at":4000000000000000`)},
		"a far id":    {`{"event":{"id":"evt_08CDXX0PQPZZZZZZZZZZZZZZZZ","at":1700000000000,"actor":"x","operation":"backup"}}`},
		"a far key":   {craftedKey(1, `,"exposed_at":9151488000000`)},
		"an escape":   {craftedKey(1, `,"owner":"\u001b[2J"`)},
	} {
		if status, body := restore(craftedBackup(t, lines...)); status != http.StatusUnprocessableEntity || !strings.Contains(body, `"code":"invalid_backup"`) {
			t.Errorf("%s: got %d %s, want 422 invalid_backup", name, status, body)
		}
	}
	for _, path := range []string{"/workspaces/acme/audit", "/audit", "/workspaces/acme/keys"} {
		response, err := http.Get("http://" + s.Admin + "/api-keys" + path)
		must(t, err)
		body, err := io.ReadAll(response.Body)
		must(t, err)
		response.Body.Close()
		if response.StatusCode != http.StatusOK || strings.Contains(string(body), "rafted") || strings.Contains(string(body), "evt_") {
			t.Errorf("%s: got %d %s, want 200 and nothing in it", path, response.StatusCode, body)
		}
	}
	if status, body := restore(craftedBackup(t, craftedKey(1, ""))); status != http.StatusOK {
		t.Errorf("what is in order: got %d %s, want 200", status, body)
	}
}

// TestRestore_unsigned: a gateway with a backup_key says what to do with a backup
// that is not signed.
func TestRestore_unsigned(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Env = append(s.Env, "API_KEYS_BACKUP_KEY="+strings.Repeat("a1", 32))
	s.Run(strings.Replace(gatewayConfig, "api_keys {", "api_keys {\n\t\tbackup_key {env.API_KEYS_BACKUP_KEY}", 1))
	s.AwaitReady()
	response, err := http.Post("http://"+s.Admin+"/api-keys/restore", "application/octet-stream", bytes.NewReader(craftedBackup(t, craftedKey(1, ""))))
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	if response.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(body), "restore it with --store, without a key") {
		t.Errorf("got %d %s, want 422 and what to do", response.StatusCode, body)
	}
	config, err := http.Get("http://" + s.Admin + "/config/apps/api_keys/backup_key")
	must(t, err)
	defer config.Body.Close()
	if shown, err := io.ReadAll(config.Body); err != nil || strings.TrimSpace(string(shown)) != `"{env.API_KEYS_BACKUP_KEY}"` {
		t.Errorf("got %s and error %v in the configuration, want the placeholder", shown, err)
	}
}
