package apikey

import (
	"errors"
	"testing"
	"time"
)

func TestParsePlace(t *testing.T) {
	id := NewKeyID(time.Now())
	for _, want := range []Place{{"acme", ""}, {"acme", id}, {"-", id}, {"A_z.9-", ""}} {
		if got, err := ParsePlace(want.String()); err != nil || got != want {
			t.Errorf("ParsePlace(%q): got %+v and error %v, want %+v", want, got, err, want)
		}
	}
}

// FuzzParsePlace: what is accepted is a place that is written just so.
func FuzzParsePlace(f *testing.F) {
	const id = "key_01M85PQ3XS81JPNQQHZNQRAPZ3"
	for _, seed := range []string{"", "/", "acme", "acme/", "/" + id, "acme/" + id, "acme/" + id + "/", "acme//" + id, "acme/x", id + "/acme", ".", "a b", "acme\x00", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		place, err := ParsePlace(s)
		if err != nil {
			if !errors.Is(err, ErrInvalidCursor) {
				t.Fatalf("ParsePlace(%q): got error %v, want %v", s, err, ErrInvalidCursor)
			}
			return
		}
		if place.String() != s || ValidateWorkspaceID(place.WorkspaceID) != nil || place.KeyID != "" && !ValidKeyID(place.KeyID) {
			t.Fatalf("ParsePlace(%q): got %+v, want a refusal", s, place)
		}
	})
}
