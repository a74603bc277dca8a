package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func TestUsed(t *testing.T) {
	now := time.Date(2026, 12, 2, 23, 0, 0, 0, time.FixedZone("elsewhere", -5*3600)) // the third in UTC
	for name, test := range map[string]struct {
		usage  []client.DayUsage
		locale string
		width  int
		want   string
	}{
		"never": {nil, "C.UTF-8", 80, "The key was not used in the last 30 days.\n"},
		"in blocks": {
			[]client.DayUsage{{Day: "2026-11-30", Reads: 96, Refused: 4}, {Day: "2026-12-01", Reads: 3}, {Day: "2026-12-03", Writes: 1440, RateLimited: 1}}, "en_US.UTF-8", 80, `
DAY         READS  WRITES  REFUSED  OVER LIMIT  REQUESTS
2026-11-30     96       0        4           0  █▋
2026-12-01      3       0        0           0  ▏
2026-12-02      0       0        0           0
2026-12-03      0    1440        0           1  ████████████████████████
Total          99    1440        4           1
`},
		"in ASCII": {
			[]client.DayUsage{{Day: "2026-12-02", Reads: 48}, {Day: "2026-12-03", Reads: 1}}, "C", 0, `
DAY         READS  WRITES  REFUSED  OVER LIMIT  REQUESTS
2026-12-02     48       0        0           0  ########################
2026-12-03      1       0        0           0  #
Total          49       0        0           0
`},
		"in a narrow terminal": {
			[]client.DayUsage{{Day: "2026-12-02", Reads: 48}}, "C", 60, `
DAY         READS  WRITES  REFUSED  OVER LIMIT
2026-12-02     48       0        0           0
2026-12-03      0       0        0           0
Total          48       0        0           0
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("LC_ALL", test.locale)
			var out bytes.Buffer
			terminal := &terminal{form: "table", out: &out, now: now, width: test.width}
			if err := terminal.used(test.usage, 30); err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimPrefix(test.want, "\n"); out.String() != want {
				t.Errorf("got\n%swant\n%s", out.String(), want)
			}
		})
	}
}

// Bars grow with the numbers, none is too long, and only zero has none.
func TestBar(t *testing.T) {
	for _, blocks := range []bool{true, false} {
		for _, most := range []uint64{1, 7, 1000, 1 << 63} {
			longest := uniseg.StringWidth(bar(most, most, blocks))
			if longest != barWidth || bar(0, most, blocks) != "" {
				t.Errorf("of %d: got a width of %d and %q, want %d and none", most, longest, bar(0, most, blocks), barWidth)
			}
			before := 0
			for i := range uint64(200) {
				n := max(most/200*i, 1)
				width := uniseg.StringWidth(bar(n, most, blocks))
				if width < before || width < 1 || width > barWidth {
					t.Errorf("%d of %d: got a width of %d after %d", n, most, width, before)
				}
				before = width
			}
		}
	}
}
