package store

import (
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// knows reports whether the store takes a token of a prefix for one of ours, which was
// mistyped.
func knows(s *Store, prefix string) bool {
	_, foreign := apikey.ParseAnyToken(prefix+"_0123456789abcdef", "current", s.Prefixes())
	return !foreign
}

// withPrefix is newKey with a token of another prefix.
func withPrefix(name, prefix string) apikey.Key {
	key, token := newKey("acme", name, start), apikey.NewToken(prefix)
	key.Digest, key.TokenHint = token.Digest(), token.Hint()
	return key
}

// The prefixes of the tokens that were created here stay known: after a restart, in a
// restored store, and once their keys have been deleted.
func TestPrefixes(t *testing.T) {
	s := openNew(t)
	mustApply(t, s, start, apikey.Create{Key: withPrefix("Zapier production", "old")})
	rotated := mustApply(t, s, start, apikey.Create{Key: withPrefix("Warehouse sync", "older_one")}).Key
	mustApply(t, s, start, apikey.Rotate{WorkspaceID: "acme", KeyID: rotated.ID, Replacement: withPrefix("", "newer")})
	imported := withPrefix("Billing export", "sk_live")
	imported.Imported = true
	mustApply(t, s, start, apikey.Create{Key: imported})

	restored := openNew(t)
	mustRestore(t, restored, mustBackup(t, s, start), start)
	for name, s := range map[string]*Store{"as it was": s, "reopened": reopen(t, s), "restored": restored} {
		for prefix, want := range map[string]bool{"old": true, "older_one": true, "newer": true, "current": true, "sk_live": false, "ol": false} {
			if got := knows(s, prefix); got != want {
				t.Errorf("%s: the prefix %s is known: got %t, want %t", name, prefix, got, want)
			}
		}
	}
	if got, err := restored.Key(t.Context(), "acme", imported.ID); err != nil || !got.Imported {
		t.Errorf("the restored key: got error %v, want one that is known as imported", err)
	}
}

// A refused change adds no prefix.
func TestPrefixes_refused(t *testing.T) {
	s := openNew(t)
	mustApply(t, s, start, apikey.Create{Key: newKey("acme", "Zapier production", start)})
	refused(t, s, start, apikey.Create{Key: withPrefix("Zapier production", "refused")}, apikey.ErrNameTaken)
	if knows(s, "refused") {
		t.Error("got the prefix of a key that was not created")
	}
}

// All gateways of a fleet know the prefixes of all keys.
func TestPrefixes_replica(t *testing.T) {
	log := openFleet(t, 2)
	mustApply(t, log.replicas[0], start, apikey.Create{Key: withPrefix("Zapier production", "old")})
	for i, s := range log.replicas {
		if !knows(s, "old") {
			t.Errorf("the gateway %d does not know the prefix", i)
		}
	}
}
