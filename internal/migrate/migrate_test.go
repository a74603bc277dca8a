package migrate

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

var update = flag.Bool("update", false, "write the golden files")

var testNow = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// formatOf are the forms of the exports in testdata.
var formatOf = map[string]Format{
	"kong.yaml": Kong, "kong_export.yaml": Kong, "unkey.json": Unkey, "tyk.json": Tyk, "tyk_redis.json": Tyk, "lines.csv": CSV, "lines.jsonl": JSONL,
}

// Each export in testdata has a golden file with its entries.
func TestRead(t *testing.T) {
	for name, format := range formatOf {
		t.Run(name, func(t *testing.T) {
			file, err := os.Open(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			got := printed(file, format, Options{Preset: "read_only", Written: testNow, Now: testNow})
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("got %v and\n%s\nwant\n%s", err, got, want)
			}
			if strings.Contains(got, "-token-of-") || strings.Contains(got, "0123456789abcdef\"") {
				t.Error("there is a token in the entries")
			}
		})
	}
}

// printed returns the entries of an export, one a line, and the error that ended it.
func printed(in io.Reader, format Format, options Options) string {
	var out strings.Builder
	for entry, err := range Read(in, format, options) {
		switch {
		case err != nil:
			fmt.Fprintf(&out, "error: %v\n", err)
		case entry.Err != nil:
			fmt.Fprintf(&out, "%d: refused: %s (%s, %s)\n", entry.Line, entry.Err.Message, entry.Err.Code, entry.Err.Field)
		case entry.LeftOut != "":
			fmt.Fprintf(&out, "%d: left out: %s: %s\n", entry.Line, entry.Key.Name, entry.LeftOut)
		default:
			key, err := json.Marshal(entry.Key)
			fmt.Fprintf(&out, "%d: %s lost %q %v\n", entry.Line, key, entry.Lost, err)
		}
	}
	return out.String()
}

// What is no export, or a broken one, ends with an error that says where, and nothing of
// what is there.
func TestRead_broken(t *testing.T) {
	const secret = "secret-token-0123456789"
	endless := strings.Repeat("x", maxKey+1)
	for _, test := range []struct {
		title  string
		format Format
		in     string
		want   string
	}{
		{"an empty file", JSONL, "", ""},
		{"an empty table", CSV, "", ""},
		{"an empty list", Unkey, "[]", ""},
		{"a blank file", Tyk, " \n", ""},
		{"an empty dump", Kong, "\n", ""},
		{"a table without a header", CSV, "acme,Zapier," + secret + "\n", "error: line 1 is not a header: column 1 is none of " + strings.Join(columns, ", ") + "\n"},
		{"a table with semicolons", CSV, "name;token\n", "error: line 1 is not a header: column 1 is none of " + strings.Join(columns, ", ") + ". Separate values with commas\n"},
		{"a table in UTF-16", CSV, "\xff\xfen\x00a\x00", "error: it is UTF-16: save it as UTF-8\n"},
		{"lines in UTF-16", JSONL, "\xfe\xff\x00{\x00}", "error: it is UTF-16: save it as UTF-8\n"},
		{"JSON in UTF-16", Unkey, "\xff\xfe[\x00]\x00", "error: it is UTF-16: save it as UTF-8\n"},
		{"YAML in UTF-16", Kong, "\xff\xfea\x00", "error: it is UTF-16: save it as UTF-8\n"},
		{"a column twice", CSV, "token,token\n", "error: line 1 has the column token twice\n"},
		{"no tokens", CSV, "name,owner\n", "error: line 1 has neither a column token_sha256 nor a column token\n"},
		{"a misplaced quotation mark", CSV, "name,token\nSync \"nightly\"," + secret + "\nSync," + secret + "\n", "2: refused: A quotation mark is misplaced: put a value with commas or quotation marks in quotation marks, and double those within. (invalid_csv, )\n" +
			"3: refused: There is no workspace_id: add one, or give --workspace. (invalid_workspace, workspace_id)\n"},
		{"an unclosed quotation mark", CSV, "name,token\n\"" + endless + endless, "error: one of its keys is longer than 2 MiB: is --from right?\n"},
		{"JSON that is cut off", Unkey, `[{"plaintext":"` + secret, "error: it is cut off: the JSON ends in the middle\n"},
		{"broken JSON", Unkey, "[\n{\"plaintext\":" + secret + "}]", "error: line 2 is not JSON\n"},
		{"no keys", Tyk, "\"" + secret + "\"", "error: line 1 has no keys: is --from right?\n"},
		{"an endless key", Tyk, `[{"alias":"` + endless + endless, "error: one of its keys is longer than 2 MiB: is --from right?\n"},
		{"a scalar", Kong, secret, "error: line 1 is not as decK writes it: is this the output of deck gateway dump?\n"},
		{"another document", Kong, "services: []\n", "error: it has neither a _format_version nor consumers: is this the output of deck gateway dump?\n"},
		{"consumers of another kind", Kong, "consumers:\n- " + secret + "\n- username: [" + secret + "]\n", "2: refused: This is not a consumer as decK writes it. (invalid_export, )\n3: refused: This is not a consumer as decK writes it. (invalid_export, )\n"},
		{"a credential of another kind", Kong, "consumers:\n- username: acme\n  keyauth_credentials:\n  - " + secret + "\n", "4: refused: This is not a credential as decK writes it. (invalid_export, )\n"},
		{"several documents", Kong, "consumers: []\n---\nconsumers:\n- username: acme\n  keyauth_credentials:\n  - key: " + secret + "\n", "error: it is several YAML documents, with --- between them: import each from a file of its own\n"},
		{"YAML that is none", Kong, "a: b: c\n", "error: it is not YAML: is this the output of deck gateway dump?\n"},
		{"a long line", JSONL, "{}\n" + endless + "\n{\"name\":", "1: refused: There is neither a token_sha256 nor a token: add one of them. (invalid_token_sha256, token_sha256)\n" +
			"2: refused: The line is longer than 64 KiB. (invalid_json, )\n3: refused: The line is not a JSON object with the members of a key. (invalid_json, )\n"},
		{"a member that may be a secret", JSONL, `{"` + secret + `":1}`, "1: refused: The line is not a JSON object with the members of a key. (invalid_json, )\n"},
	} {
		t.Run(test.title, func(t *testing.T) {
			got := printed(strings.NewReader(test.in), test.format, Options{Now: testNow})
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if strings.Contains(got, secret) {
				t.Error("there is a token in it")
			}
		})
	}
}

// A byte-order mark, and lines that end as on Windows, are no part of an export.
func TestRead_windows(t *testing.T) {
	got := printed(strings.NewReader("\ufeffname,token\r\nSync,secret-token-0123456789\r\n"), CSV, Options{Workspace: "acme", Preset: "read_only"})
	if want := `2: {"workspace_id":"acme","name":"Sync",`; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
}

// Keys one after the other, and several answers in one file, are read as one list.
func TestRead_concatenated(t *testing.T) {
	const key = `{"key_hash":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","alias":"Zapier"}`
	const next = `{"key_hash":"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b","alias":"Zapier"}`
	for _, in := range []string{key + "\n" + next, "[" + key + "," + next + "]", `{"keys":[` + key + `]}{"keys":[` + next + `]}`} {
		got := printed(strings.NewReader(in), Tyk, Options{Workspace: "acme", Preset: "read_only", Now: testNow})
		if strings.Count(got, "\n") != 2 || !strings.Contains(got, `"Zapier"`) || !strings.Contains(got, `"Zapier 2bb80d53"`) {
			t.Errorf("%s: got\n%s", in, got)
		}
	}
}

// A table may have presets as the command line has them, and times as PostgreSQL writes
// them. A time without its time zone is refused: it may be meant for another hour.
func TestRead_table(t *testing.T) {
	for _, test := range []struct{ preset, expires, want string }{
		{"read-only", "2030-01-31T12:00:00Z", `"preset":"read_only"|"expires_at":"2030-01-31T12:00:00Z"`},
		{"full-access", "2030-01-31 12:00:00+00", `"preset":"full_access"|"expires_at":"2030-01-31T12:00:00Z"`},
		{"full_access", "2030-01-31 12:00:00.123456-05", `"expires_at":"2030-01-31T12:00:00.123456-05:00"`},
		{"full_access", "2030-01-31 12:00:00+05:30", `"expires_at":"2030-01-31T12:00:00+05:30"`},
		{"full_access", "2030-01-31 12:00:00", "(invalid_expires_at, expires_at)"},
		{"full_access", "2030-01-31", "(invalid_expires_at, expires_at)"},
		{"full_access", "1924992000", "(invalid_expires_at, expires_at)"},
	} {
		in := "name,token,preset,expires_at\nSync,secret-token-0123456789," + test.preset + "," + test.expires + "\n"
		got := printed(strings.NewReader(in), CSV, Options{Workspace: "acme", Now: testNow})
		for _, want := range strings.Split(test.want, "|") {
			if !strings.Contains(got, want) {
				t.Errorf("%s, %s: got %s, want %s", test.preset, test.expires, got, want)
			}
		}
	}
}

// A list of which pages are missing is read, and then refused: the holders of the other
// keys would be locked out.
func TestRead_pages(t *testing.T) {
	const (
		unkey = `{"data":[{"plaintext":"secret-token-0123456789","externalId":"acme"}],"pagination":{"cursor":"key_1","hasMore":true}}`
		last  = `{"data":[{"plaintext":"secret-token-9876543210","externalId":"acme"}],"pagination":{"hasMore":false}}`
		tyk   = `{"keys":[{"key_hash":"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"}],"pages":2}`
	)
	for _, test := range []struct {
		title   string
		format  Format
		in      string
		keys    int
		missing bool
	}{
		{"the first page of Unkey's", Unkey, unkey, 1, true},
		{"all pages of Unkey's", Unkey, unkey + "\n" + last, 2, false},
		{"a page of Unkey's in between", Unkey, unkey + unkey, 2, true},
		{"one of two pages of Tyk's", Tyk, tyk, 1, true},
		{"both pages of Tyk's", Tyk, tyk + tyk, 2, false},
	} {
		got := printed(strings.NewReader(test.in), test.format, Options{Workspace: "acme", Preset: "read_only", Now: testNow})
		keys, missing := strings.Count(got, `"token_sha256"`), strings.HasSuffix(got, "error: "+errPages.Error()+"\n")
		if keys != test.keys || missing != test.missing {
			t.Errorf("%s: got %d keys, and that pages are missing: %t, want %d and %t:\n%s", test.title, keys, missing, test.keys, test.missing, got)
		}
	}
}

// Whatever is read: it ends, its lines are in order, and what is to be imported has all
// that an import requires.
func FuzzRead(f *testing.F) {
	for name, format := range formatOf {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(slices.Index(Formats(), format)), string(text))
	}
	f.Fuzz(func(t *testing.T, which byte, in string) {
		format := Formats()[int(which)%len(Formats())]
		last, ended := 0, false
		digests := make(map[string]string) // by workspace and name
		for entry, err := range Read(strings.NewReader(in), format, Options{Preset: "read_only", Written: testNow, Now: testNow}) {
			if ended {
				t.Fatal("there is an entry after an error")
			}
			if ended = err != nil; ended {
				continue
			}
			if entry.Line < 1 || entry.Line < last && format != Kong {
				t.Errorf("got line %d after line %d", entry.Line, last)
			}
			last = entry.Line
			if entry.Err != nil || entry.LeftOut != "" {
				continue
			}
			key := entry.Key
			if key.WorkspaceID == "" || key.TokenSHA256 == "" || key.Preset == "" {
				t.Errorf("got %+v", key)
			}
			if !format.Derived() {
				continue
			}
			name := key.WorkspaceID + "\n" + apikey.FoldName(key.Name)
			if digest, taken := digests[name]; taken && digest != key.TokenSHA256 {
				t.Errorf("got the name %q again", key.Name)
			}
			digests[name] = key.TokenSHA256
			if !sha256Digits.MatchString(key.TokenSHA256) {
				t.Errorf("got the digest %q", key.TokenSHA256)
			}
		}
	})
}
