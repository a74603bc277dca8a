package cli

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	for _, test := range []struct {
		name string
		fit  int
		want string
	}{
		{"as wide as it gets", 0, "" +
			"ID  NAME                    OWNER                        STATUS\n" +
			"a   Zapier production                                    active\n" +
			"b   東京の倉庫システム連携  Ko\u0308ln und Umgebung, Ops Team  revoked\n" +
			"c   \ufffd[2J\ufffd]0;x\ufffd\ufffdline         Ops                          active\n"},
		{"in a terminal", 50, "" +
			"ID  NAME               OWNER               STATUS\n" +
			"a   Zapier production                      active\n" +
			"b   東京の倉庫システ…  Ko\u0308ln und Umgebung…  revoked\n" +
			"c   \ufffd[2J\ufffd]0;x\ufffd\ufffdline    Ops                 active\n"},
		{"in a narrow one", 20, "" +
			"ID  NAME          OWNER         STATUS\n" +
			"a   Zapier prod…                active\n" +
			"b   東京の倉庫…   Ko\u0308ln und Um…  revoked\n" +
			"c   \ufffd[2J\ufffd]0;x\ufffd\ufffd…  Ops           active\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			list := table{fit: test.fit, shorten: []int{1, 2}}
			list.row("ID", "NAME", "OWNER", "STATUS")
			list.row("a", "Zapier production", "", "active")
			list.row("b", "東京の倉庫システム連携", "Ko\u0308ln und Umgebung, Ops Team", "revoked")
			list.row("c", "\x1b[2J\x1b]0;x\a\nline", "Ops", "active")
			var got strings.Builder
			if err := list.write(&got); err != nil {
				t.Fatal(err)
			}
			if got.String() != test.want {
				t.Errorf("got\n%s\nwant\n%s", got.String(), test.want)
			}
		})
	}
}

func TestVisibleJSON(t *testing.T) {
	const hostile = "{\n  \"actor\": \"東京 \u009b2J \u202eevil \u2028 \U000e0001 \\u001b[2J\"\n}"
	const want = "{\n  \"actor\": \"東京 \\u009b2J \\u202eevil \\u2028 \\udb40\\udc01 \\u001b[2J\"\n}"
	got := visibleJSON(hostile)
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var before, after map[string]string
	if err := errors.Join(json.Unmarshal([]byte(hostile), &before), json.Unmarshal([]byte(got), &after)); err != nil || before["actor"] != after["actor"] {
		t.Errorf("got %q and error %v, want it to mean %q", after, err, before)
	}
}
