package store

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/testenv"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// send makes changes until it is killed, lets keys expire, and delivers messages. It says
// what it has done, and which messages it is about to remove.
func send(s *Store) error {
	ctx := context.Background()
	if err := s.SetReceivers([]webhook.Receiver{hook}); err != nil {
		return err
	}
	now := start
	newest, _, err := s.Keys(ctx, "acme", apikey.KeyFilter{}, apikey.Page{Limit: 1}, now)
	if err != nil {
		return err
	}
	if len(newest) > 0 {
		now = newest[0].CreatedAt
	}
	for i := 0; ; i++ {
		now = now.Add(10 * time.Minute)
		key := newKey("acme", "Key "+apikey.NewKeyID(now), now)
		key.ExpiresAt = now.Add(time.Hour)
		if _, err := s.Apply(ctx, changeAt(now, apikey.Create{Key: key})); err != nil {
			return err
		}
		fmt.Println("created", key.ID)
		if i%3 == 0 {
			if _, err := s.Apply(ctx, changeAt(now, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID})); err != nil {
				return err
			}
			fmt.Println("revoked", key.ID)
		}
		if _, err := s.Announce(ctx, now, nil); err != nil {
			return err
		}
		fmt.Println("announced", now.Format(time.RFC3339))
		if i%2 == 0 {
			if err := deliver(ctx, s.Outbox()); err != nil {
				return err
			}
		}
	}
}

func deliver(ctx context.Context, o Outbox) error {
	messages, err := o.Pending(ctx, hook.ID, "acme", "", 4)
	if err != nil {
		return err
	}
	for _, m := range messages {
		fmt.Println("sent", m.ID, m.Type, m.Subject)
	}
	if err := o.Done(ctx, messages...); err != nil {
		return err
	}
	for _, m := range messages {
		fmt.Println("done", m.ID)
	}
	return nil
}

// Whenever the process is killed, each change that was acknowledged has its message, each
// expiry that was announced has one, and what was removed does not come back.
func TestOutbox_killed(t *testing.T) {
	kills := 12
	if testing.Short() {
		kills = 3
	}
	path := filepath.Join(t.TempDir(), "keys")
	d := &deliveries{status: make(map[string]string), sent: make(map[string]string), done: make(map[string]bool)}
	for kill := range kills {
		p := testenv.StartChild(t, roleSend, path)
		for n := 0; p.Lines.Scan(); n++ {
			d.note(t, strings.Fields(p.Lines.Text()))
			if n == kill*7 {
				_ = p.Process.Kill()
			}
		}
		p.End()
		d.verify(t, path)
	}
}

// deliveries are what the child has said.
type deliveries struct {
	status    map[string]string // of keys
	sent      map[string]string // what a message says, by its id
	done      map[string]bool   // by id
	announced time.Time
}

func (d *deliveries) note(t *testing.T, said []string) {
	t.Helper()
	switch said[0] {
	case "created", "revoked":
		d.status[said[1]] = said[0]
	case "announced":
		d.announced, _ = time.Parse(time.RFC3339, said[1])
	case "sent":
		d.sent[said[1]] = said[2] + " " + said[3]
	case "done":
		d.done[said[1]] = true
	default:
		t.Fatalf("the child failed: %s", said)
	}
}

func (d *deliveries) verify(t *testing.T, path string) {
	t.Helper()
	s := open(t, path, nil)
	mustReceive(t, s, hook)
	pending, err := s.Outbox().Pending(t.Context(), hook.ID, "acme", "", 1<<20)
	if err != nil {
		t.Fatalf("Pending after a kill: got error %v, want messages", err)
	}
	equal(t, "pending", s.Outbox().Count(hook.ID), len(pending))
	all := make(map[string]string) // by id
	for id, says := range d.sent {
		all[id] = says
	}
	for _, m := range pending {
		all[m.ID] = string(m.Type) + " " + m.Subject
		if d.done[m.ID] {
			t.Errorf("%s was removed, and is there again", m.ID)
		}
	}
	told := make(map[string][]string) // by key
	for _, id := range slices.Sorted(maps.Keys(all)) {
		typ, key, _ := strings.Cut(all[id], " ")
		told[key] = append(told[key], strings.TrimPrefix(typ, "key."))
	}
	keys, _, err := s.Keys(t.Context(), "acme", apikey.KeyFilter{}, apikey.Page{Limit: 1 << 20}, start)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		want := []string{"created", "expiring"}
		switch {
		case !key.RevokedAt.IsZero():
			want = append(want, "revoked")
		case !key.ExpiresAt.After(d.announced), slices.Contains(told[key.ID], "expired"): // which may not have been said
			want = append(want, "expired")
		}
		equal(t, "told about "+key.ID, told[key.ID], want)
		if d.status[key.ID] == "revoked" && key.RevokedAt.IsZero() {
			t.Errorf("%s was acknowledged as revoked, and is not", key.ID)
		}
		delete(told, key.ID)
		delete(d.status, key.ID)
	}
	equal(t, "told about keys that are not there", len(told), 0)
	equal(t, "acknowledged keys that are not there", len(d.status), 0)
	soundRecords(t, s)
	closeStore(t, s)
}
