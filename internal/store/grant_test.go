package store

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func someGrant() apikey.Grant {
	g := apikey.Grant{
		Digest: digestOf("token"), CreatedAt: apikey.InstantOf(start), ExpiresAt: apikey.InstantOf(start.Add(life)), MayWrite: true, Imported: true, Replaced: true,
	}
	nameGrant(&g, apikey.NewKeyID(start), "acme", "Zapier – Übersicht")
	g.SetRare(apikey.Rare{RevokesAt: 1, RevokedAt: -1, ReplacedAt: 1 << 62, ExposedAt: 2})
	return g
}

func nameGrant(g *apikey.Grant, id, workspaceID, name string) {
	g.SetNames(id+workspaceID+name, len(id), len(workspaceID))
}

// plainGrant is one of which nothing is set that can be left out.
func plainGrant(workspaceID string) apikey.Grant {
	g := apikey.Grant{ExpiresAt: 1}
	nameGrant(&g, "k", workspaceID, "")
	return g
}

func TestGrant_encoding(t *testing.T) {
	full := someGrant()
	plain := plainGrant(strings.Repeat("w", 64))
	for _, want := range []apikey.Grant{full, plain} {
		value := encodeGrant(want)
		got, err := decodeGrant(want.Digest[:], value)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v and error %v, want %+v", got, err, want)
		}
		for i := range value {
			damaged := bytes.Clone(value)
			damaged[i]++
			if got, err := decodeGrant(want.Digest[:], damaged); err == nil {
				t.Errorf("with another byte %d: got %+v, want an error", i, got)
			}
			if got, err := decodeGrant(want.Digest[:], value[:i]); err == nil {
				t.Errorf("cut off after %d bytes: got %+v, want an error", i, got)
			}
		}
		other := digestOf("another token")
		if got, err := decodeGrant(other[:], value); err == nil {
			t.Errorf("with another digest: got %+v, want an error", got)
		}
	}
}

// What would let a request pass by mistake is no grant.
func TestGrant_inconsistent(t *testing.T) {
	for name, change := range map[string]func(*apikey.Grant){
		"no id":             func(g *apikey.Grant) { nameGrant(g, "", "acme", "Zapier") },
		"no expiry":         func(g *apikey.Grant) { g.ExpiresAt = 0 },
		"no workspace":      func(g *apikey.Grant) { nameGrant(g, "k", "", "Zapier") },
		"a wrong workspace": func(g *apikey.Grant) { nameGrant(g, "k", "a b", "Zapier") },
	} {
		g := someGrant()
		change(&g)
		if got, err := decodeGrant(g.Digest[:], encodeGrant(g)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}

// Each change of a key changes what requests know of it.
func TestGrant_follows(t *testing.T) {
	s := openNew(t)
	now := start
	key := mustCreate(t, s, "acme", "Zapier", now)
	name := "Zapier 2"
	for _, do := range []apikey.Action{
		apikey.Update{WorkspaceID: "acme", KeyID: key.ID, Name: &name},
		apikey.Expose{WorkspaceID: "acme", KeyID: key.ID},
		apikey.Rotate{WorkspaceID: "acme", KeyID: key.ID, Replacement: newKey("acme", name, now)},
		apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID},
	} {
		before := lookup(t, s, key.Digest)
		now = now.Add(time.Minute)
		mustApply(t, s, now, do)
		if after := lookup(t, s, key.Digest); reflect.DeepEqual(after.Grant(), before.Grant()) {
			t.Errorf("%T: got the same grant as before: %+v", do, after.Grant())
		}
	}
}

// No bytes make decodeGrant panic, and what it accepts is what was encoded.
func FuzzGrant(f *testing.F) {
	digest := digestOf("token")
	for _, g := range []apikey.Grant{someGrant(), plainGrant("w")} {
		value := encodeGrant(g)
		f.Add(value[:len(value)-4])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, encoded []byte) {
		_, _ = decodeGrant(digest[:], encoded)
		value := binary.LittleEndian.AppendUint32(bytes.Clone(encoded), grantSum(digest[:], encoded))
		g, err := decodeGrant(digest[:], value)
		if err != nil {
			return
		}
		if again, err := decodeGrant(digest[:], encodeGrant(g)); err != nil || !reflect.DeepEqual(again, g) {
			t.Errorf("got %+v and error %v, want %+v", again, err, g)
		}
	})
}
