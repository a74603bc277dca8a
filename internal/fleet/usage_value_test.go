package fleet

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// An addition that may not have been written is written again, and is deleted by when that was.
func TestUsage_expect(t *testing.T) {
	u, now := newUsage("AAAAAAAAAAAAAAAA"), time.Now()
	for i, name := range []string{"0", "1", "1", "2"} {
		u.expect(addition{name, now.Add(time.Duration(i))})
	}
	want := []addition{{"0", now}, {"1", now.Add(2)}, {"2", now.Add(3)}}
	if !slices.Equal(u.additions, want) {
		t.Errorf("got %v, want %v", u.additions, want)
	}
}

func TestUsageAt(t *testing.T) {
	for _, origin := range []string{"", "ABCDEFGHIJKLMNOP"} {
		day, got, ok := usageAt(usageName(20_787, 0x3f, origin))
		if day != 20_787 || got != origin || !ok {
			t.Errorf("got %d, %q, %t, want 20787, %q, true", day, got, ok, origin)
		}
	}
	if day, origin, ok := usageAt(additionName(20_787, "ABCDEFGHIJKLMNOP", 0x1f)); day != 20_787 || origin != "ABCDEFGHIJKLMNOP" || !ok {
		t.Errorf("an addition: got %d, %q, %t", day, origin, ok)
	}
	for _, name := range []string{"", "z/", "z/020787/x/-/00000001", "z/020787/x/ABCDEFGHIJKLMNOP/1", "z/020787/3f/", "z/020787/3f/abcdefghijklmnop", "z/20787/3f/-", "z/020787/3F/-", "z/020787/3f/-/", "d/020787/3f/-"} {
		if _, _, ok := usageAt(name); ok {
			t.Errorf("%q is taken for the name of a value", name)
		}
	}
	if first, second := usageName(9_999, 0, ""), usageName(10_000, 0, ""); strings.Compare(first, second) >= 0 {
		t.Errorf("%q comes after %q", first, second)
	}
}

// What is decoded is what was encoded, and nothing makes decoding fail in another way than
// with an error.
func FuzzDecodeUsage(f *testing.F) {
	id := apikey.NewKeyID(time.Now())
	f.Add([]byte(nil))
	f.Add(encodeUsage(map[string]apikey.Usage{id: {Reads: 1 << 63, Writes: 1}}))
	f.Add(encodeUsage(map[string]apikey.Usage{id: {}, apikey.NewKeyID(time.Now()): {Refused: 300, RateLimited: 5}}))
	f.Add(make([]byte, 19))
	f.Add([]byte(strings.Repeat("\xff", 40)))
	f.Fuzz(func(t *testing.T, value []byte) {
		totals, err := decodeUsage(value)
		if err != nil {
			return
		}
		again, err := decodeUsage(encodeUsage(totals))
		if err != nil || !maps.Equal(again, totals) {
			t.Errorf("%x: got %v, and %v, %v once it was encoded", value, totals, again, err)
		}
	})
}
