package admin

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// FuzzImportLines reads lines as an import does: each is counted, a refusal is one of
// those that are described, and what is accepted is a key without flaws. How the body
// arrives makes no difference.
func FuzzImportLines(f *testing.F) {
	valid := ndjson(f, with(with(with(importLine("Zapier", "sk_1"), "token_hint", "sk_…"), "created_at", "2024-02-29T13:00:00.1239+01:00"), "expires_at", "2026-03-02T12:00:00Z"))
	for _, seed := range []string{
		"", "\n", "\r\n", valid, valid + valid, strings.TrimSuffix(valid, "\n"), "\n\n" + valid + " \r\n{}", "{\n}", "null\n[]\n", "\ufeff" + valid, "\x00\n" + valid,
		strings.Replace(valid, "2026-03-02", "2026-02-02", 1), strings.Replace(valid, "2024", "1924", 1), strings.Replace(valid, "sk_…", "sk_1", 1),
		strings.Replace(valid, "name", "Name", 1), strings.Repeat("x", maxBody) + "\n" + valid, strings.Repeat(" ", maxBody+1) + "\n" + valid,
		strings.Replace(valid, "read_only", "full_access", 1), strings.ToUpper(valid), `{"expires_at":"` + "\n", `{"token_sha256":"g"}`, `{"expires_at":0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		read := func(r *lineReader) (lines []line) {
			if err := r.each(func(number int, text []byte, tooLong bool) error {
				lines = append(lines, parseLine(number, text, tooLong, 90*day, start))
				return nil
			}); err != nil {
				t.Fatalf("%q: got error %v, want none", body, err)
			}
			return lines
		}
		lines := read(newLineReader(bytes.NewReader(body)))
		inParts := read(newLineReader(iotest.HalfReader(bytes.NewReader(body))))
		equal(t, "lines that arrive in parts", len(inParts), len(lines))
		text := bytes.Split(body, []byte("\n"))
		last := 0
		for i, l := range lines {
			if l.number <= last || l.number > len(text) {
				t.Fatalf("%q: got line %d after line %d", body, l.number, last)
			}
			last = l.number
			if got, want := inParts[i].err, l.err; (got == nil) != (want == nil) {
				t.Fatalf("line %d of %q in parts: got %v, want %v", l.number, body, got, want)
			}
			if l.err != nil {
				refusal, ok := errors.AsType[*apikey.Error](l.err)
				if !ok || statuses[refusal.Code] < 400 || !strings.HasSuffix(refusal.Message, ".") {
					t.Fatalf("line %d of %q: got error %v, want a refusal", l.number, body, l.err)
				}
				continue
			}
			key := l.key
			if flaw := key.Flaw(); flaw != "" || key.Status(start) != apikey.Active || key.ExpiresAt.Sub(start) > 90*day || key.CreatedAt.After(start) {
				t.Fatalf("line %d of %q: got a key whose flaw is %q: %+v", l.number, body, flaw, key)
			}
			if !bytes.Contains(bytes.ToLower(text[l.number-1]), []byte("token_sha256")) && !bytes.Contains(text[l.number-1], []byte("\\")) {
				t.Fatalf("line %d of %q: got a key, want its line to have a digest", l.number, body)
			}
		}
	})
}
