package store

import (
	"testing"

	"pgregory.net/rapid"
)

// Rosters and members are the JSON that encode makes of them.
func TestRoster_json(t *testing.T) {
	number := rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 1<<31-1))
	text := rapid.OneOf(rapid.Just(craftedID("key_", 1)), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		r := roster{Current: rapid.Uint32().Draw(t, "current"), Expired: number.Draw(t, "expired"), Revoked: number.Draw(t, "revoked")}
		want, _ := encode(r)
		if got := r.encode(); string(got) != string(want) {
			t.Errorf("got the roster %s, want %s", got, want)
		}
		if back, err := decodeRoster("acme", want); err != nil || back != r {
			t.Errorf("%s: got %+v and error %v, want %+v", want, back, err, r)
		}
		members := rapid.SliceOf(rapid.Custom(func(t *rapid.T) member {
			return member{ID: text.Draw(t, "id"), End: millis(rapid.Int64().Draw(t, "end")), Revoked: rapid.Bool().Draw(t, "revoked"), Family: text.Draw(t, "family")}
		})).Draw(t, "members")
		if members == nil {
			members = []member{}
		}
		want, _ = encode(members)
		if got := encodeMembers(members); string(got) != string(want) {
			t.Errorf("got the members %s, want %s", got, want)
		}
	})
	for _, damaged := range []string{"", "{", `{"current":`, `{"current":}`, `{"current":-1}`, `{"current":1`, `{"current":4294967296}`, `{"current":1}}`} {
		if r, err := decodeRoster("acme", []byte(damaged)); err == nil {
			t.Errorf("%q: got %+v, want an error", damaged, r)
		}
	}
}
