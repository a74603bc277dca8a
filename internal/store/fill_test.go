package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// TestFill: what is filled in cannot be told from what was made key by key.
func TestFill(t *testing.T) {
	keys := make([]apikey.Key, 2*filledAtOnce+1)
	for i := range keys {
		keys[i] = newKey(fmt.Sprintf("ws-%d", i/10), fmt.Sprintf("Key %d", i%10), start.Add(time.Duration(i)*time.Second))
	}
	filled, made := openNew(t), openNew(t)
	if err := filled.Fill(t.Context(), "import", slices.Values(keys)); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		mustApply(t, made, key.CreatedAt, apikey.Create{Key: key})
	}
	now := start.Add(time.Hour)
	for _, key := range keys {
		got, err := filled.Lookup(key.Digest)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "key", got, &key)
	}
	for _, ws := range []string{"ws-0", "ws-50"} {
		page := apikey.Page{Limit: 20}
		got, _, err := filled.Keys(t.Context(), ws, apikey.KeyFilter{}, page, now)
		if err != nil {
			t.Fatal(err)
		}
		want, _, err := made.Keys(t.Context(), ws, apikey.KeyFilter{}, page, now)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "keys of "+ws, got, want)
		equal(t, "events of "+ws, operations(t, filled, ws), operations(t, made, ws))
	}
	equal(t, "census", census(t, filled, now), census(t, made, now))
	_, err := filled.Apply(t.Context(), apikey.Change{
		EventID: apikey.NewEventID(now), At: now, Actor: "kim", Do: apikey.Create{Key: newKey("ws-0", "key 3", now)},
	})
	if err != apikey.ErrNameTaken {
		t.Errorf("a second key of one name: got error %v, want %v", err, apikey.ErrNameTaken)
	}
}

func operations(t *testing.T, s *Store, ws string) (all []map[string]any) {
	t.Helper()
	events, _, err := s.Events(t.Context(), ws, apikey.Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		all = append(all, map[string]any{"operation": e.Operation, "key": e.KeyID, "at": e.At, "details": e.Details})
	}
	return all
}
