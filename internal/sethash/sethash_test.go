package sethash

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func record(kind apikey.RecordKind, id, value string) apikey.Record {
	return apikey.Record{Kind: kind, ID: id, Value: []byte(value)}
}

func hashOf(records ...apikey.Record) *Hash {
	h := new(Hash)
	for _, r := range records {
		h.Add(r)
	}
	return h
}

// The hash depends on what is in the set, and not on how it came to be.
func TestHash_history(t *testing.T) {
	var h Hash
	set := make(map[string]apikey.Record)
	for range 500 {
		id := string(rune('a' + rand.N(20)))
		if old, there := set[id]; there {
			h.Remove(old)
			delete(set, id)
		}
		if rand.N(3) > 0 {
			set[id] = record(apikey.RecordKey, id, string(rune('0'+rand.N(10))))
			h.Add(set[id])
		}
	}
	var want Hash
	for _, r := range set {
		want.Add(r)
	}
	if h != want {
		t.Errorf("got another hash after a history than for the %d records that are left", len(set))
	}
	for _, r := range set {
		h.Remove(r)
	}
	if h != (Hash{}) {
		t.Error("got another hash for a set that was emptied than for the empty one")
	}
}

func TestHash_differs(t *testing.T) {
	k, s := apikey.RecordKey, apikey.RecordSuspension
	sets := map[string]*Hash{
		"empty":         hashOf(),
		"one":           hashOf(record(k, "ab", "c")),
		"another value": hashOf(record(k, "ab", "d")),
		"another id":    hashOf(record(k, "a", "bc")), // of the same characters
		"another kind":  hashOf(record(s, "ab", "c")),
		"two":           hashOf(record(k, "ab", "c"), record(k, "b", "c")),
		"exchanged":     hashOf(record(k, "ab", "x"), record(k, "b", "y")),
		"as they were":  hashOf(record(k, "ab", "y"), record(k, "b", "x")),
		"one twice":     hashOf(record(k, "ab", "c"), record(k, "ab", "c")),
	}
	for a, of := range sets {
		for b, other := range sets {
			if a != b && bytes.Equal(of.Sum(), other.Sum()) {
				t.Errorf("%s: got the same hash as for %s", a, b)
			}
		}
	}
}

func TestDecode(t *testing.T) {
	h := hashOf(record(apikey.RecordKey, "a", "b"))
	if got, err := Decode(h.Encode()); err != nil || got != *h {
		t.Errorf("got another hash, or the error %v, want the one that was encoded", err)
	}
	if _, err := Decode(h.Encode()[1:]); err == nil {
		t.Error("got no error for a hash that is too short")
	}
}

// Gateways of different versions must agree on the hash.
func TestHash_stable(t *testing.T) {
	got := hex.EncodeToString(hashOf(record(apikey.RecordKey, "id", "value")).Sum())
	if want := "663121c85ebe8a23a1601b4f4c31e733347b550ff5b0b376b8d820897bbd12b8"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func BenchmarkAdd(b *testing.B) {
	var h Hash
	r := record(apikey.RecordKey, "key_01KJMMA2G0EXNSWBGRA91K4E17", string(make([]byte, 500)))
	b.ReportAllocs()
	for b.Loop() {
		h.Add(r)
	}
}
