package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

var pendingMessages = flag.Int("pending", 1000, "how many messages wait in TestWebhooks_pending")

// TestWebhooks_pending verifies that many messages, which a killed gateway has left, are
// all delivered once the webhook is back, each once.
func TestWebhooks_pending(t *testing.T) {
	t.Parallel()
	const each = 500 // keys of a workspace
	r := newHookReceiver(t)
	r.say(func(_ hookMessage, w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	s := startHooked(t, r)
	n := *pendingMessages / each * each
	importKeys(t, s, n, each)
	for i := range n / each {
		_, err := s.Keys().RevokeAll(context.Background(), fmt.Sprintf("workspace-%d", i), "left")
		must(t, err)
	}
	s.wantPending(float64(n))
	s.kill(t)
	r.say(nil)
	begun := time.Now()
	s.runAgain(withWebhooks(r.option()))
	s.AwaitReady()
	for some := each; some <= n; some += each { // each time, Await waits for a minute at most
		s.Await(fmt.Sprintf("%d of %d messages", some, n), func() bool { return r.count() >= some })
	}
	t.Logf("%d messages were delivered within %v of the start", n, time.Since(begun).Round(time.Second))
	s.wantPending(0)
	about := make(map[string]int)
	for _, m := range r.received() {
		about[m.Data.Key.ID]++
	}
	if got := r.count(); got != n || len(about) != n {
		t.Errorf("got %d messages about %d keys, want one about each of %d", got, len(about), n)
	}
}

// importKeys imports n keys, so many to a workspace.
func importKeys(t *testing.T, s *server, n, each int) {
	t.Helper()
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for i := range n {
		must(t, encoder.Encode(client.ImportLine{
			WorkspaceID: fmt.Sprintf("workspace-%d", i/each), Name: fmt.Sprintf("Key %d", i), Preset: client.ReadOnly,
			TokenSHA256: fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, i))),
		}))
	}
	summary, err := s.Keys().Import(context.Background(), &lines, client.ImportOptions{})
	must(t, err)
	if summary.Imported != n {
		t.Fatalf("got %d keys imported, want %d", summary.Imported, n)
	}
}
