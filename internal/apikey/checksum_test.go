package apikey

import (
	"hash/crc32"
	"strings"
	"testing"
)

func TestAppendChecksum_isIEEE(t *testing.T) {
	for _, body := range []string{"", "a", "123456789", "agk_" + strings.Repeat("0", secretLength), strings.Repeat("\xff\x00é", 30)} {
		var want [checksumLength]byte
		rest := crc32.ChecksumIEEE([]byte(body))
		for i := checksumLength - 1; i >= 0; i-- {
			want[i] = alphabet[rest%62]
			rest /= 62
		}
		if got := appendChecksum(nil, body); string(got) != string(want[:]) {
			t.Errorf("checksum of %q: got %s, want %s", body, got, want)
		}
	}
}

func TestParseToken_doesNotAllocate(t *testing.T) {
	token := NewToken("agk").Reveal()
	got := testing.AllocsPerRun(100, func() {
		if _, ok := ParseToken(token); !ok {
			t.Fatal("got a token refused, want it taken")
		}
	})
	if got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}
