package admin

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// event is an event as a client's library reads it.
type event struct {
	UID         string    `json:"uid"`
	Start       time.Time `json:"start"`
	Stamp       time.Time `json:"stamp"`
	Modified    time.Time `json:"modified"`
	Sequence    int       `json:"sequence"`
	Summary     string    `json:"summary"`
	Description string    `json:"description"`
	Alarms      []string  `json:"alarms"`
	Properties  int       `json:"properties"`
}

// reader reads a calendar with python3-icalendar, and lists what that library could
// not parse as errors. Version 4 of it unescapes text several times, and so loses
// backslashes: here it does so once.
const reader = `
import icalendar, icalendar.parser, icalendar.prop, json, re, sys
icalendar.parser.escape_string = icalendar.parser.unescape_string = lambda text: text
icalendar.prop.unescape_char = lambda text: re.sub(r"\\(.)", lambda m: "\n" if m[1] in "nN" else m[1], text)
calendar = icalendar.Calendar.from_ical(sys.stdin.buffer.read())
assert not calendar.errors, calendar.errors
events = calendar.walk("VEVENT")
assert calendar.subcomponents == events or [c.name for c in calendar.subcomponents] == ["VTIMEZONE"], calendar.subcomponents
def event(e):
    assert not e.errors, e.errors
    assert not [c for c in e.subcomponents if c.name != "VALARM"], e.subcomponents
    return {"uid": e["uid"], "start": e["dtstart"].dt.isoformat(), "stamp": e["dtstamp"].dt.isoformat(),
            "modified": e["last-modified"].dt.isoformat(), "sequence": int(e["sequence"]),
            "summary": e["summary"], "description": e["description"], "properties": len(e),
            "alarms": [str(a["trigger"].dt.days) + " " + a["action"] for a in e.walk("VALARM")]}
print(json.dumps({"name": calendar["x-wr-calname"], "events": [event(e) for e in events]}))
`

// subscribe reads a calendar as a client does.
func subscribe(t *testing.T, text string) (name string, events []event) {
	t.Helper()
	for i, line := range strings.Split(text, "\r\n") {
		if len(line) > 75 || strings.ContainsAny(line, "\r\n") || !utf8.ValidString(line) {
			t.Errorf("line %d: got %q, want at most 75 bytes of whole characters", i+1, line)
		}
	}
	testenv.Tool(t, "icalendar") // a command of the system's Python library
	cmd := exec.Command("/usr/bin/python3", "-c", reader)
	cmd.Stdin, cmd.Stderr = strings.NewReader(text), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("reading the calendar: %v\n%s", err, text)
	}
	var read struct {
		Name   string  `json:"name"`
		Events []event `json:"events"`
	}
	if err := json.Unmarshal(out, &read); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for i := range read.Events {
		e := &read.Events[i]
		e.Start, e.Stamp, e.Modified = e.Start.UTC(), e.Stamp.UTC(), e.Modified.UTC()
	}
	return read.Name, read.Events
}

// keyNamed returns a key from the store by its name.
func keyNamed(n int, name, owner string) *apikey.Key {
	created := start.Add(time.Duration(n) * time.Hour)
	return &apikey.Key{
		ID: "key_01JD000000000000000000000" + string(rune('0'+n)), WorkspaceID: "acme", Name: name, Owner: owner, Preset: apikey.ReadOnly,
		TokenHint: "agk_…x7Qz", CreatedAt: created, ExpiresAt: created.Add(90 * day),
	}
}

func calendarOf(t *testing.T, now time.Time, keys ...*apikey.Key) string {
	t.Helper()
	c := newCalendarWriter("acme", now)
	for _, key := range keys {
		if err := c.add(key); err != nil {
			t.Fatal(err)
		}
	}
	made, err := c.document()
	if err != nil {
		t.Fatal(err)
	}
	return string(made.body)
}

func TestCalendar_golden(t *testing.T) {
	plain := keyNamed(0, "Zapier production", "Ops")
	odd := keyNamed(1, `Köln, Straße 7; "C:\new" <b>東京</b> 🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑`, "")
	odd.Preset = apikey.FullAccess
	replaced := keyNamed(2, "Warehouse sync", "")
	replaced.ReplacedBy, replaced.ReplacedAt = "key_01JD0000000000000000000003", start.Add(3*day)
	replaced.RevokesAt = start.Add(4 * day)
	got := calendarOf(t, start.Add(3*day), replaced, plain, odd)

	const golden = "testdata/calendar.ics"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got another calendar than %s:\n%s", golden, got)
	}

	name, events := subscribe(t, got)
	equal(t, "name", name, "API keys of acme")
	equal(t, "events", events, []event{
		{
			UID: "key_01JD0000000000000000000002@caddy-api-keys.invalid", Start: start.Add(4 * day), Stamp: start.Add(3 * day), Modified: start.Add(3 * day),
			Sequence: 1 + int((3*day-2*time.Hour)/time.Second), Summary: "API key is revoked: Warehouse sync",
			Description: "Name: Warehouse sync\nAccess: read only\nToken: agk_…x7Qz\nKey: key_01JD0000000000000000000002\nReplaced by: key_01JD0000000000000000000003",
			Alarms:      []string{"-14 DISPLAY", "-3 DISPLAY"}, Properties: 9,
		},
		{
			UID: "key_01JD0000000000000000000000@caddy-api-keys.invalid", Start: start.Add(90 * day), Stamp: start.Add(3 * day), Modified: start,
			Summary:     "API key expires: Zapier production (Ops)",
			Description: "Name: Zapier production\nOwner: Ops\nAccess: read only\nToken: agk_…x7Qz\nKey: key_01JD0000000000000000000000\nRotate it before then: its requests are refused afterwards.",
			Alarms:      []string{"-14 DISPLAY", "-3 DISPLAY"}, Properties: 9,
		},
		{
			UID: "key_01JD0000000000000000000001@caddy-api-keys.invalid", Start: start.Add(90*day + time.Hour), Stamp: start.Add(3 * day), Modified: start.Add(time.Hour),
			Summary:     "API key expires: " + odd.Name,
			Description: "Name: " + odd.Name + "\nAccess: full access\nToken: agk_…x7Qz\nKey: key_01JD0000000000000000000001\nRotate it before then: its requests are refused afterwards.",
			Alarms:      []string{"-14 DISPLAY", "-3 DISPLAY"}, Properties: 9,
		},
	})
}

// What users typed is text in a calendar too. A name with a line break is refused;
// even if one got into the store, it would not end a line.
func TestCalendar_textIsInert(t *testing.T) {
	for _, text := range []string{
		`<script>alert(1)</script>`, `=cmd()`, `{env.HOME}`, `,;:\`, `\n\N\\n`, `"quoted" 'this'`, `a^nb`, `%0D%0A`,
		"BEGIN:VALARM", "END:VEVENT", "x\nEND:VEVENT", "x\nATTACH:http://evil.example", strings.Repeat("🔑", 80), strings.Repeat("x", 80),
		strings.Repeat("ü ", 40) + "z", strings.Repeat("ab ", 26) + "z", strings.Repeat(" ", 70) + "x", strings.Repeat(`\,`, 40),
	} {
		t.Run(text, func(t *testing.T) {
			_, events := subscribe(t, calendarOf(t, start, keyNamed(0, text, text)))
			if len(events) != 1 {
				t.Fatalf("got %d events, want 1", len(events))
			}
			equal(t, "summary", events[0].Summary, "API key expires: "+text+" ("+text+")")
			if want := "Name: " + text + "\nOwner: " + text + "\n"; !strings.HasPrefix(events[0].Description, want) {
				t.Errorf("got the description %q, want one that begins with %q", events[0].Description, want)
			}
			equal(t, "properties", events[0].Properties, 9)
			equal(t, "alarms", events[0].Alarms, []string{"-14 DISPLAY", "-3 DISPLAY"})
		})
	}
}

func TestCalendar_none(t *testing.T) {
	a := newAPI(t)
	name, events := subscribe(t, a.must(t, http.StatusOK, "GET", "/workspaces/acme/calendar.ics", "").raw)
	equal(t, "name", name, "API keys of acme")
	equal(t, "number of events", len(events), 0)
	a.refused(t, http.StatusUnprocessableEntity, "invalid_workspace", "workspace", "GET", "/workspaces/.acme/calendar.ics", "")
	a.refused(t, http.StatusMethodNotAllowed, "method_not_allowed", "", "POST", "/workspaces/acme/calendar.ics", "")
}

// A calendar shows changes of keys.
func TestCalendar_follows(t *testing.T) {
	a := newAPI(t)
	uid := func(id string) string { return id + "@caddy-api-keys.invalid" }
	calendar := func() map[string]event {
		t.Helper()
		_, events := subscribe(t, a.must(t, http.StatusOK, "GET", "/workspaces/acme/calendar.ics", "").raw)
		all := make(map[string]event)
		for _, e := range events {
			all[e.UID] = e
		}
		equal(t, "distinct events", len(all), len(events))
		return all
	}
	id, token := a.create(t, "acme", "Zapier")
	a.create(t, "other", "Somebody else's")
	before := calendar()
	equal(t, "events", len(before), 1)
	equal(t, "start", before[uid(id)].Start, start.Add(90*day))

	a.at(start.Add(time.Hour))
	a.must(t, http.StatusOK, "PATCH", keysPage+"/"+id, `{"name":"Zapier production"}`)
	renamed := calendar()[uid(id)]
	equal(t, "summary", renamed.Summary, "API key expires: Zapier production")
	equal(t, "stamp", renamed.Stamp, start.Add(time.Hour))

	rotated := a.must(t, http.StatusCreated, "POST", keysPage+"/"+id+"/rotate", `{"revoke_old_in":"24h"}`).body
	replacement := rotated["key"].(map[string]any)["id"].(string)
	after := calendar()
	equal(t, "events", len(after), 2)
	old := after[uid(id)]
	equal(t, "start of the old key", old.Start, start.Add(25*time.Hour))
	equal(t, "summary of the old key", old.Summary, "API key is revoked: Zapier production")
	equal(t, "start of the new key", after[uid(replacement)].Start, start.Add(time.Hour+90*day))
	if old.Sequence <= renamed.Sequence || !old.Modified.After(renamed.Modified) {
		t.Errorf("got the sequence %d after %d, modified %v after %v, want both later", old.Sequence, renamed.Sequence, old.Modified, renamed.Modified)
	}

	// The replacement turns out to be wrong, and the old key gets another one.
	a.must(t, http.StatusOK, "POST", keysPage+"/"+replacement+"/revoke", "")
	equal(t, "events", len(calendar()), 1)
	a.at(start.Add(2 * time.Hour))
	a.must(t, http.StatusCreated, "POST", keysPage+"/"+id+"/rotate", "")
	again := calendar()[uid(id)]
	equal(t, "start of the old key", again.Start, start.Add(25*time.Hour))
	if again.Sequence <= old.Sequence || !again.Modified.After(old.Modified) {
		t.Errorf("got the sequence %d after %d, want a later one", again.Sequence, old.Sequence)
	}

	a.at(start.Add(90 * day))
	if _, there := calendar()[uid(id)]; there {
		t.Error("got an event of an expired key, want none")
	}
	a.must(t, http.StatusOK, "POST", "/workspaces/acme/revoke-all", `{"reason":"left"}`)
	equal(t, "events", len(calendar()), 0)
	if raw := a.must(t, http.StatusOK, "GET", "/workspaces/other/calendar.ics", "").raw; strings.Contains(raw, token) {
		t.Errorf("got a token in %s", raw)
	}
}

// A calendar has all keys, even more than a page of a list.
func TestCalendar_manyKeys(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Rules.MaxActiveKeys = 1000 })
	const many = maxLimit + 5
	for i := range many {
		key := keyNamed(0, "Key "+strings.Repeat("x", i%50), "")
		key.ID, key.Name = apikey.NewKeyID(start), key.Name+string(rune('A'+i%26))+string(rune('a'+i/26))
		key.Digest = apikey.NewToken("agk").Digest()
		if _, err := a.store.Apply(t.Context(), apikey.Change{EventID: apikey.NewEventID(start), At: start, Do: apikey.Create{Key: *key}}); err != nil {
			t.Fatal(err)
		}
	}
	raw := a.must(t, http.StatusOK, "GET", "/workspaces/acme/calendar.ics", "").raw
	equal(t, "events", strings.Count(raw, "BEGIN:VEVENT\r\n"), many)
}
