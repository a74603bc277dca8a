package migrate

import (
	"io"
	"strings"
	"testing"
)

func TestFormatOfName(t *testing.T) {
	for name, want := range map[string]Format{
		"keys.jsonl": JSONL, "keys.NDJSON": JSONL, "a/keys.csv": CSV, "kong.yaml": Kong, "kong.yml": Kong, "keys.json": "", "keys": "", "-": "",
	} {
		if got, ok := FormatOfName(name); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %t, want %q", name, got, ok, want)
		}
	}
}

// A format is told by the beginning of an export only if no other can begin so.
func TestFormatOfContent(t *testing.T) {
	for in, want := range map[string]Format{
		"":   JSONL,
		"\n": JSONL,
		"_format_version: \"3.0\"\nconsumers: []\n":    Kong,
		"name,token\r\nSync,x\r\n":                     CSV,
		"\ufeffname,token_sha256\n":                    CSV,
		`{"workspace_id":"acme","token":"x"}` + "\n{}": JSONL,
		"{\"keys\": [\n":                               "",
		"[{\"workspace_id\":1}]":                       "",
		`{"key_hash":"x","data":{}}`:                   "",
		"name;token\n":                                 "",
		"hello":                                        "",
	} {
		r, got, ok, err := FormatOfContent(strings.NewReader(in))
		if got != want || ok != (want != "") || err != nil {
			t.Errorf("%q: got %q, %t, %v, want %q", in, got, ok, err, want)
		}
		if whole, err := io.ReadAll(r); ok && (string(whole) != in || err != nil) {
			t.Errorf("%q: read %q, %v afterwards", in, whole, err)
		}
	}
}
