package apikey

import (
	"crypto/sha256"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var flawTime = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func flawless() Key {
	token := NewToken(DefaultPrefix)
	return Key{
		ID: NewKeyID(flawTime), WorkspaceID: "acme", Name: "Zapier production", Owner: "Ops", Preset: ReadOnly,
		Digest: token.Digest(), TokenHint: token.Hint(), CreatedAt: flawTime, CreatedBy: "alice", ExpiresAt: flawTime.Add(time.Hour),
	}
}

func TestKey_Flaw(t *testing.T) {
	older, newer := NewKeyID(flawTime), func() string { return NewKeyID(flawTime.Add(time.Hour)) }
	far := time.Date(9000, time.January, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name   string
		change func(*Key)
		want   string
	}{
		{"nothing", func(*Key) {}, ""},
		{"a vague name", func(k *Key) { k.Name = "test" }, ""},
		{"a name that mixes scripts", func(k *Key) { k.Name = "Z\u0430pier" }, ""},
		{"no owner", func(k *Key) { k.Owner, k.CreatedBy = "", "" }, ""},
		{"the longest life", func(k *Key) { k.ExpiresAt = k.CreatedAt.Add(math.MaxInt64).Truncate(time.Millisecond) }, ""},
		{"replaced", func(k *Key) { k.ReplacedBy, k.ReplacedAt, k.RevokesAt = newer(), flawTime, flawTime.Add(time.Minute) }, ""},
		{"replaces", func(k *Key) { k.Replaces = older }, ""},
		{"revoked", func(k *Key) { k.RevokedAt, k.RevokedBy, k.RevokeReason = flawTime, "bob", "left" }, ""},
		{"a clock that was ahead", func(k *Key) { k.RevokedAt = flawTime.AddDate(-3, 0, 0) }, ""},

		{"an id of something else", func(k *Key) { k.ID = NewEventID(flawTime) }, "its id"},
		{"an id of the year 9000", func(k *Key) { k.ID = "key_7ZZZZZZZZZ0000000000000000" }, "its id"},
		{"a long workspace id", func(k *Key) { k.WorkspaceID = "acme" + strings.Repeat("x", 256) }, "its workspace id"},
		{"a name with an escape", func(k *Key) { k.Name = "Zapier\x1b[2J" }, "its name"},
		{"a name that was not trimmed", func(k *Key) { k.Name = " Zapier" }, "its name"},
		{"a name with a token", func(k *Key) { k.Name = NewToken(DefaultPrefix).Reveal() }, "its name"},
		{"a long owner", func(k *Key) { k.Owner = strings.Repeat("x", 81) }, "its owner"},
		{"no preset", func(k *Key) { k.Preset = "" }, "its preset"},
		{"a token for its hint", func(k *Key) { k.TokenHint = NewToken(DefaultPrefix).Reveal() }, "its token hint"},
		{"no hint", func(k *Key) { k.TokenHint = "" }, "its token hint"},
		{"a foreign hint", func(k *Key) { k.TokenHint = "sk_live_…x7Qz" }, ""},
		{"another hint", func(k *Key) { k.TokenHint = "Zapier" }, "its token hint"},
		{"a long hint", func(k *Key) { k.TokenHint = "agk_…x7Qzx" }, "its token hint"},
		{"a hint with other characters", func(k *Key) { k.TokenHint = "agk_…x7Q\x1b" }, "its token hint"},
		{"imported", func(k *Key) { k.Imported, k.TokenHint, k.CreatedAt = true, "", flawTime.AddDate(-20, 0, 0) }, ""},
		{"imported, with a hint", func(k *Key) { k.Imported, k.TokenHint = true, "sk-1234…" }, ""},
		{"imported, with a long hint", func(k *Key) { k.Imported, k.TokenHint = true, strings.Repeat("x", 41) }, "its token hint"},
		{"imported, with a token for its hint", func(k *Key) { k.Imported, k.TokenHint = true, NewToken(DefaultPrefix).Reveal() }, "its token hint"},
		{"imported, with its token for its hint", func(k *Key) { k.Imported, k.TokenHint, k.Digest = true, "sk-1234", sha256.Sum256([]byte("sk-1234")) }, "it has its token in it"},
		{"imported, with its token for its name", func(k *Key) { k.Imported, k.Digest = true, sha256.Sum256([]byte(k.Name)) }, "it has its token in it"},
		{"imported, and replaces another", func(k *Key) { k.Imported, k.Replaces = true, older }, "it was imported"},
		{"a creator with an escape", func(k *Key) { k.CreatedBy = "\x1b" }, "who created"},
		{"a creator that is a token", func(k *Key) { k.CreatedBy = NewToken(DefaultPrefix).Reveal() }, "who created"},
		{"never created", func(k *Key) { k.CreatedAt = time.Time{} }, "its creation time"},
		{"created before 1970", func(k *Key) { k.CreatedAt = time.UnixMilli(-1) }, "its creation time"},
		{"created in the year 9000", func(k *Key) { k.CreatedAt, k.ExpiresAt = far, far.Add(time.Hour) }, "its creation time"},
		{"expires in the year 9000", func(k *Key) { k.ExpiresAt = far }, "its expiry"},
		{"expires before it is created", func(k *Key) { k.ExpiresAt = k.CreatedAt }, "its expiry"},
		{"exposed in the year 9000", func(k *Key) { k.ExposedAt = far }, "exposed"},
		{"leaked in the year 9000", func(k *Key) { k.LeakedAt = far }, "leaked"},
		{"a reason and no revocation", func(k *Key) { k.RevokeReason = "left" }, "not when"},
		{"revoked in the year 9000", func(k *Key) { k.RevokedAt = far }, "its revocation"},
		{"a long reason", func(k *Key) { k.RevokedAt, k.RevokeReason = flawTime, strings.Repeat("x", 501) }, "the reason"},
		{"revokes and has no replacement", func(k *Key) { k.RevokesAt = flawTime }, "scheduled"},
		{"revokes after its expiry", func(k *Key) { k.ReplacedBy, k.RevokesAt = newer(), k.ExpiresAt }, "scheduled"},
		{"replaces itself", func(k *Key) { k.Replaces = k.ID }, "not an older one"},
		{"replaces a newer one", func(k *Key) { k.Replaces = newer() }, "not an older one"},
		{"replaces what is none", func(k *Key) { k.Replaces = "key_" }, "not an older one"},
		{"replaced by itself", func(k *Key) { k.ReplacedBy = k.ID }, "not a newer one"},
		{"replaced by an older one", func(k *Key) { k.ReplacedBy = older }, "not a newer one"},
		{"replaced by nothing", func(k *Key) { k.ReplacedAt = flawTime }, "its replacement"},
	} {
		key := flawless()
		test.change(&key)
		wantFlaw(t, test.name, key.Flaw(), test.want)
	}
}

func TestEvent_Flaw(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Event)
		want   string
	}{
		{"nothing", func(*Event) {}, ""},
		{"of no workspace", func(e *Event) { e.WorkspaceID, e.KeyID, e.Operation = "", "", OpBackup }, ""},
		{"many keys", func(e *Event) { e.Details["key_ids"] = slices.Repeat([]any{NewKeyID(flawTime)}, 300) }, ""},
		{"a number", func(e *Event) { e.Details["revoked"] = 300.0 }, ""},
		{"refused for a workspace that is none", func(e *Event) { e.WorkspaceID, e.Details["refused"] = "", "not_found" }, ""},

		{"a long workspace id", func(e *Event) { e.WorkspaceID = "acme" + strings.Repeat("x", 256) }, "its workspace id"},
		{"the year 55000", func(e *Event) { e.At = time.UnixMilli(17e14) }, "its time"},
		{"no time", func(e *Event) { e.At = time.Time{} }, "its time"},
		{"an id of something else", func(e *Event) { e.ID = NewKeyID(flawTime) }, "its id"},
		{"a long actor", func(e *Event) { e.Actor = strings.Repeat("x", MaxActor+1) }, "its actor"},
		{"an address with an escape", func(e *Event) { e.RemoteIP = "\x1b" }, "its address"},
		{"an invented operation", func(e *Event) { e.Operation = "forge" }, "its operation"},
		{"a key that is none", func(e *Event) { e.KeyID = "key_" }, "its key id"},
		{"a key of no workspace", func(e *Event) { e.WorkspaceID = "" }, "no workspace"},
		{"a detail with an escape", func(e *Event) { e.Details["name"] = "\x1b[2J" }, "a detail"},
		{"a detail with a token", func(e *Event) { e.Details["name"] = NewToken(DefaultPrefix).Reveal() }, "a detail"},
		{"a detail within a detail", func(e *Event) { e.Details["name"] = map[string]any{} }, "a detail"},
		{"a list of lists", func(e *Event) { e.Details["name"] = []any{[]any{}} }, "a detail"},
		{"a long list", func(e *Event) { e.Details["name"] = slices.Repeat([]any{"x"}, maxDetailItems+1) }, "a detail"},
		{"a long name of a detail", func(e *Event) { e.Details[strings.Repeat("x", 41)] = true }, "the name of a detail"},
		{"many details", func(e *Event) {
			for i := range maxDetails {
				e.Details[strconv.Itoa(i)] = true
			}
		}, "too many details"},
	} {
		event := Event{
			ID: NewEventID(flawTime), At: flawTime, Actor: "alice", RemoteIP: "192.0.2.1", Operation: OpRevoke,
			WorkspaceID: "acme", KeyID: NewKeyID(flawTime), Details: map[string]any{"name": "Zapier", "reason": ""},
		}
		test.change(&event)
		wantFlaw(t, test.name, event.Flaw(), test.want)
	}
}

func wantFlaw(t *testing.T, name, got, want string) {
	t.Helper()
	if (got == "") != (want == "") || !strings.Contains(got, want) {
		t.Errorf("%s: got the flaw %q, want %q in it", name, got, want)
	}
}

// Events of every operation can be restored.
func TestOperations_complete(t *testing.T) {
	found := 0
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		found += declaredOperations(t, file)
	}
	if found != len(operations) {
		t.Errorf("got %d operations, want %d", found, len(operations))
	}
}

// People are told of every operation: in the API's description, in the documentation, and
// in words on the Settings page.
func TestOperations_toldToPeople(t *testing.T) {
	for _, list := range []struct{ file, begin, end, item string }{
		{"../../admin/openapi.yaml", "\n        operation:\n", "]\n", `[\[ ]%s[,\]]`},
		{"../../docs/admin-api.md", "\n| `operation` | `details` |\n", "\n\n", "\\| `%s`"},
		{"../../admin/page/files/text/en/events.js", "\n\tdid: {\n", "\n\t},\n", `\t%s: \(`},
		{"../../admin/page/files/text/de/events.js", "\n\tdid: {\n", "\n\t},\n", `\t%s: \(`},
	} {
		content, err := os.ReadFile(list.file)
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(content), list.begin)
		told, _, _ := strings.Cut(after, list.end)
		for _, operation := range operations {
			if !regexp.MustCompile(fmt.Sprintf(list.item, operation)).MatchString(told + list.end) {
				t.Errorf("%s: the operation %s is missing", list.file, operation)
			}
		}
	}
}

// declaredOperations counts the operations that a file declares.
func declaredOperations(t *testing.T, file *ast.File) (found int) {
	t.Helper()
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); !ok || of.Name != "Operation" {
			return true
		}
		for i, name := range spec.Names {
			value, err := strconv.Unquote(spec.Values[i].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if found++; !slices.Contains(operations, Operation(value)) {
				t.Errorf("%s is not among operations", name)
			}
		}
		return true
	})
	return found
}

func TestParseBackupKey(t *testing.T) {
	digits := strings.Repeat("0aF", 22)[:64]
	key, err := ParseBackupKey(digits)
	if err != nil || key.IsZero() {
		t.Fatalf("got error %v, want a key", err)
	}
	for _, wrong := range []string{"", digits[:62], digits[:63], digits + "x", strings.Repeat("g", 64)} {
		if _, err := ParseBackupKey(wrong); err == nil || wrong != "" && strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: got error %v, want one that does not quote it", wrong, err)
		}
	}
}

func TestSortAfter(t *testing.T) {
	ahead := NewKeyID(flawTime.AddDate(1, 0, 0))
	SortAfter(ahead)
	SortAfter("key_7ZZZZZZZZZ0000000000000000") // no id that a clock leads to
	SortAfter("")
	if got := NewKeyID(flawTime); got <= ahead || got >= "key_7" {
		t.Errorf("got %s, want one just after %s", got, ahead)
	}
}
