package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestProgress(t *testing.T) {
	for _, test := range []struct {
		name    string
		total   int64
		written int
		visible bool
		want    []string // nothing is shown if there is none
	}{
		{"the whole", 2000, 2000, true, []string{"Sending", "100%"}},
		{"broken off", 2000, 1000, true, []string{"Sending", "0%"}},
		{"more than was expected", 2000, 3000, true, []string{"Sending"}},
		{"nothing", 0, 0, true, []string{"Sending"}},
		{"of unknown length", unknownLength, 0, true, []string{"Sending"}},
		{"no terminal", 2000, 2000, false, nil},
		{"no terminal, broken off", 2000, 1000, false, nil},
		{"no terminal, of unknown length", unknownLength, 0, false, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			p := progressOf(&out, "Sending", test.total, test.visible)
			if n, err := p.Write(make([]byte, test.written)); n != test.written || err != nil {
				t.Errorf("Write: got %d, %v, want %d and no error", n, err, test.written)
			}
			p.end()
			shown := out.String()
			if test.want == nil && shown != "" {
				t.Errorf("got %q, want nothing", shown)
			}
			for _, want := range test.want {
				if !strings.Contains(shown, want) {
					t.Errorf("got %q, want %q in it", shown, want)
				}
			}
			if test.want != nil && (strings.Count(shown, "\n") != 1 || !strings.HasSuffix(shown, "\n")) {
				t.Errorf("got %q, want one line, and its end", shown)
			}
		})
	}
}
