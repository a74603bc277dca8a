package store

import (
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/doctor"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// hook is a receiver of everything.
var hook = webhook.Receiver{
	ID: webhook.ReceiverID("https://hook.example"), Types: webhook.Types,
	Expiring: []webhook.Window{{Before: 14 * day, Within: "14d"}, {Before: day, Within: "1d"}},
}

func mustReceive(t testing.TB, s *Store, receivers ...webhook.Receiver) {
	t.Helper()
	if err := s.SetReceivers(receivers); err != nil {
		t.Fatalf("SetReceivers: got error %v, want none", err)
	}
}

func mustAnnounce(t testing.TB, s *Store, now time.Time) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = s.Announce(t.Context(), now, nil); err != nil {
			t.Fatalf("Announce: got error %v, want none", err)
		}
	}
}

// toldOf returns the types of the messages to the hook about a workspace and its keys.
func toldOf(t testing.TB, s *Store, ws string) string {
	t.Helper()
	messages, err := s.Outbox().Pending(t.Context(), hook.ID, ws, "", 1000)
	if err != nil {
		t.Fatalf("Pending: got error %v, want messages", err)
	}
	var types []string
	for _, m := range messages {
		types = append(types, string(m.Type))
	}
	return strings.Join(types, " ")
}

func TestAnnounce_writesNothingWithoutReceivers(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Zapier", start)
	before := contents(t, s)
	mustAnnounce(t, s, start.Add(life))
	equal(t, "the store", contents(t, s), before)
}

func TestAnnounce_writesNothingWhileNothingIsDue(t *testing.T) {
	s := openNew(t)
	mustReceive(t, s, hook)
	mustCreate(t, s, "acme", "Zapier", start)
	mustAnnounce(t, s, start)
	before := revision(t, s)
	mustAnnounce(t, s, start.Add(maxLag))
	equal(t, "changes", revision(t, s), before)
}

// A receiver that is configured again is told of what comes from then on.
func TestForgetMessages_endsTheSchedule(t *testing.T) {
	s := openNew(t)
	mustReceive(t, s, hook)
	mustCreate(t, s, "acme", "Zapier", start)
	mustAnnounce(t, s, start)
	mustReceive(t, s)
	if _, err := s.ForgetMessages(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustReceive(t, s, hook)
	mustAnnounce(t, s, start.Add(life))
	equal(t, "told", toldOf(t, s, "acme"), "")
	soundRecords(t, s)
}

func TestMessages_showTheLastUse(t *testing.T) {
	s := openNew(t)
	mustReceive(t, s, hook)
	key := mustCreate(t, s, "acme", "Zapier", start)
	mustNote(t, s, map[string]time.Time{key.ID: start.Add(time.Hour)})
	mustRevoke(t, s, key, start.Add(day))
	messages, err := s.Outbox().Pending(t.Context(), hook.ID, "acme", "", 10)
	if err != nil || len(messages) != 2 || !strings.Contains(string(messages[1].Body), `"last_used_at":"2026-03-01T13:00:00Z"`) {
		t.Errorf("got %q and error %v, want the last use in the second", messages, err)
	}
}

func TestMessages_areDroppedWhereThereIsNoRoom(t *testing.T) {
	s := openNew(t)
	s.backlog = webhook.NewBacklog(8, 2)
	mustReceive(t, s, hook)
	for _, ws := range []string{"a", "a", "a", "a", "a", "b", "b", "b", "c", "d", "e"} {
		mustCreate(t, s, ws, "Key "+apikey.NewKeyID(start), start)
	}
	for ws, want := range map[string]int{"a": 4, "b": 2, "c": 1, "d": 1, "e": 0} {
		equal(t, ws, strings.Count(toldOf(t, s, ws), "key.created"), want)
	}
	o := s.Outbox()
	equal(t, "dropped", o.Dropped(hook.ID), 3)
	some, err := o.Pending(t.Context(), hook.ID, "b", "", 10)
	if err != nil || o.Done(t.Context(), some...) != nil {
		t.Fatalf("Pending, Done: got error %v, want none", err)
	}
	mustCreate(t, s, "e", "Zapier", start)
	equal(t, "told once there is room", toldOf(t, s, "e"), "key.created")
}

// A key that was revoked by its schedule stays so when the clock is set back, and the
// others are announced again when they end again.
func TestTrust_announcesAgain(t *testing.T) {
	s := openNew(t)
	noteConfirmed(t, s, start)
	mustReceive(t, s, hook)
	mustAnnounce(t, s, start)
	expired := newKey("expired", "Zapier", start)
	expired.ExpiresAt = start.Add(30 * day)
	mustApply(t, s, start, apikey.Create{Key: expired})
	replaced := mustCreate(t, s, "replaced", "Make", start)
	do := rotation(replaced, start)
	do.RevokeOldAt = start.Add(10 * day)
	mustApply(t, s, start, do)
	wrong := start.Add(40 * day)
	noteConfirmed(t, s, wrong)
	mustAnnounce(t, s, wrong)
	equal(t, "told", toldOf(t, s, "expired"), "key.created key.expired")
	equal(t, "told", toldOf(t, s, "replaced"), "key.created key.rotated key.revoked")

	right := start.Add(day)
	mustApply(t, s, right, apikey.TrustClock{Clock: apikey.ClockReading{Machine: right, Confirmed: wrong, Judged: wrong}})
	mustAnnounce(t, s, right)
	mustAnnounce(t, s, start.Add(16*day))
	mustAnnounce(t, s, start.Add(30*day))
	equal(t, "told", toldOf(t, s, "expired"), "key.created key.expired key.expiring key.expired")
	equal(t, "told", toldOf(t, s, "replaced"), "key.created key.rotated key.revoked")
	soundRecords(t, s)
}

// What a wrong clock has ended, but nobody was told of, is told when the clock is set.
func TestTrust_tellsOfWhatStaysRevoked(t *testing.T) {
	s := openNew(t)
	noteConfirmed(t, s, start)
	mustReceive(t, s, hook)
	mustAnnounce(t, s, start)
	replaced := mustCreate(t, s, "acme", "Make", start)
	do := rotation(replaced, start)
	do.RevokeOldAt = start.Add(10 * day)
	mustApply(t, s, start, do)
	right, wrong := start.Add(day), start.Add(40*day)
	mustApply(t, s, right, apikey.TrustClock{Clock: apikey.ClockReading{Machine: right, Confirmed: start, Judged: wrong}})
	mustAnnounce(t, s, start.Add(11*day))
	equal(t, "told", toldOf(t, s, "acme"), "key.created key.rotated key.revoked")
}

func TestRestore_tellsNobody(t *testing.T) {
	s := openNew(t)
	mustReceive(t, s, hook)
	key := mustCreate(t, s, "acme", "Zapier", start)
	mustRevoke(t, s, mustCreate(t, s, "acme", "Make", start), start)
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "acme"})
	backup := mustBackup(t, s, start)

	restored := openNew(t)
	mustReceive(t, restored, hook)
	mustAnnounce(t, restored, start)
	mustRestore(t, restored, backup, start)
	mustAnnounce(t, restored, start)
	equal(t, "told at once", toldOf(t, restored, "acme"), "")
	mustAnnounce(t, restored, key.ExpiresAt.Add(-day))
	mustAnnounce(t, restored, key.ExpiresAt)
	equal(t, "told later", toldOf(t, restored, "acme"), "key.expiring key.expired")

	for _, due := range []time.Time{key.ExpiresAt.Add(-day), key.ExpiresAt} {
		late := openNew(t)
		mustReceive(t, late, hook)
		mustAnnounce(t, late, due.Add(-30*time.Second))
		mustRestore(t, late, backup, due)
		mustAnnounce(t, late, due.Add(2*time.Minute))
		equal(t, "told of what was due before", toldOf(t, late, "acme"), "")
	}
}

func TestCheck_readsMessages(t *testing.T) {
	s := openNew(t)
	mustReceive(t, s, hook)
	mustCreate(t, s, "acme", "Zapier", start)
	mustAnnounce(t, s, start)
	soundRecords(t, s)
	for _, damage := range []struct{ key, value string }{
		{"o/short", "{}"}, {string(messageKey(hook.ID, "acme", webhook.NewID(1, 1))), "{"}, {string(scheduleKey), "[]"},
	} {
		if err := s.db.Note(func(txn *durable.Txn) error { return txn.Set([]byte(damage.key), []byte(damage.value)) }); err != nil {
			t.Fatal(err)
		}
		finding, err := s.checkRecords(t.Context())
		if err != nil || finding.Severity == doctor.Fine {
			t.Errorf("%q: got %q and error %v, want a finding", damage.key, finding.Message, err)
		}
		if err := s.db.Note(func(txn *durable.Txn) error { return txn.Delete([]byte(damage.key)) }); err != nil {
			t.Fatal(err)
		}
	}
}

// A store that is rebuilt from its journal has the messages that were not delivered, and
// none that was, and announces nothing again.
func TestMessages_rebuilt(t *testing.T) {
	s := openNew(t)
	mustReceive(t, s, hook)
	mustAnnounce(t, s, start)
	key := newKey("acme", "Zapier", start)
	key.ExpiresAt = start.Add(time.Hour)
	mustApply(t, s, start, apikey.Create{Key: key})
	mustAnnounce(t, s, start.Add(time.Hour))
	o := s.Outbox()
	all, err := o.Pending(t.Context(), hook.ID, "acme", "", 10)
	if err != nil || len(all) != 3 {
		t.Fatalf("Pending: got %d messages and error %v, want 3", len(all), err)
	}
	if err := o.Done(t.Context(), all[0]); err != nil {
		t.Fatal(err)
	}
	s = rebuildFrom(t, s)
	mustReceive(t, s, hook)
	mustAnnounce(t, s, start.Add(2*time.Hour))
	equal(t, "told", toldOf(t, s, "acme"), "key.expiring key.expired")
}

// What is kept of the disk for revoking is not for messages.
func TestMessages_reservedSpace(t *testing.T) {
	s := openNew(t)
	mustReceive(t, s, hook)
	key := mustCreate(t, s, "acme", "Zapier", start)
	leave(s, 70<<20)
	mustRevoke(t, s, key, start)
	equal(t, "told", toldOf(t, s, "acme"), "key.created")
	equal(t, "dropped", s.Outbox().Dropped(hook.ID), 1)
	// To remove messages makes room.
	some, err := s.Outbox().Pending(t.Context(), hook.ID, "acme", "", 1)
	if err != nil || s.Outbox().Done(t.Context(), some...) != nil {
		t.Errorf("Pending, Done: got error %v, want none", err)
	}
	restoreDisk(s)
}

// A fleet writes as many records and messages at once as etcd takes.
func TestPlan_messages(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	other := hook
	other.ID = webhook.ReceiverID("https://other.example")
	mustReceive(t, s, hook, other)
	var changes []apikey.Change
	for range 10 {
		changes = append(changes, changeAt(start, apikey.Create{Key: newKey("acme", "Key "+apikey.NewKeyID(start), start)}))
	}
	plan := mustPlan(t, s, 12, changes...)
	if n := len(plan.Results); n == 0 || n > 3 || len(plan.Messages) != 2*n || len(plan.Records) != 2*n {
		t.Errorf("got %d changes with %d records and %d messages, want up to 3, with two of each", n, len(plan.Records), len(plan.Messages))
	}
	for range 60 {
		mustCreate(t, s, "acme", "Key "+apikey.NewKeyID(start), start)
	}
	all := changeAt(start, apikey.RevokeAll{WorkspaceID: "acme", Reason: "left"})
	plan = mustPlan(t, s, maxCommitted, all)
	if n := len(plan.Records) + len(plan.Messages); n > maxCommitted+1 || !plan.Results[0].Outcome.Unfinished {
		t.Errorf("got %d records and messages of a part, want %d at most", n, maxCommitted+1)
	}
	log.full = true
	plan = mustPlan(t, s, maxCommitted, all)
	equal(t, "messages without room", len(plan.Messages), 0)
	equal(t, "dropped", plan.Dropped[hook.ID], plan.Results[0].Outcome.Revoked)
}

// A clock that goes back moves no mark back, whatever else has to be written then.
func TestAnnounce_clockGoesBack(t *testing.T) {
	s := openNew(t)
	mustReceive(t, s, hook)
	mustAnnounce(t, s, start)
	key := mustCreate(t, s, "acme", "Zapier", start)
	mustAnnounce(t, s, key.ExpiresAt)
	more := hook
	more.Expiring = append(more.Expiring, webhook.Window{Before: 2 * day, Within: "2d"})
	mustReceive(t, s, more)
	mustAnnounce(t, s, key.ExpiresAt.Add(-3*day))
	mustAnnounce(t, s, key.ExpiresAt.Add(day))
	equal(t, "told", toldOf(t, s, "acme"), "key.created key.expired")
}
