package test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// reads are what a client may ask for that changes nothing. Uses of keys are
// noted, though: by and by, apart from all changes.
var reads = []weightedCall{{6, (*tenant).use}, {2, (*tenant).show}, {1, (*tenant).count}}

// use makes a request with a token.
func (w *tenant) use() error {
	if len(w.tokens) == 0 {
		return nil
	}
	return w.wantUse(one(w, slices.Sorted(maps.Keys(w.tokens))...))
}

// wantUse makes a request with the token of a key, and wants the answer that the
// key must get.
func (w *tenant) wantUse(id string) error {
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.plain, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+w.tokens[id])
	w.used[id] = true
	response, err := w.api.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if want := w.expectation(w.keys[id]); response.StatusCode != want {
		return fmt.Errorf("%w: a request with the key %s, which is %s: got status %d, want %d", errWrong, id, w.keys[id].Status, response.StatusCode, want)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

func (w *tenant) show() error {
	if len(w.keys) == 0 {
		return nil
	}
	id := one(w, slices.Sorted(maps.Keys(w.keys))...)
	answer, err := w.api.ShowKey(w.t.Context(), w.id, id)
	if err != nil {
		return err
	}
	return w.wantKey(answer)
}

// wantKey wants a key to be as it was answered last.
func (w *tenant) wantKey(got client.Key) error {
	if want := w.keys[got.ID]; !sameKey(want, got) {
		return fmt.Errorf("%w: got the key %s, want %s", errWrong, inJSON(got), inJSON(want))
	}
	return nil
}

// sameKey reports whether a key is as it was answered, but for its last use and,
// where all were revoked at once, for what was not answered.
func sameKey(answered, shown client.Key) bool {
	if !active(answered) && answered.RevokedAt == nil {
		answered.RevokedAt, answered.RevokedBy = shown.RevokedAt, shown.RevokedBy
	}
	answered.LastUsedAt, shown.LastUsedAt = nil, nil
	return reflect.DeepEqual(answered, shown)
}

func (w *tenant) count() error {
	want := w.workspace
	want.Keys.Active = len(w.some(active))
	want.Keys.Revoked = len(w.keys) - want.Keys.Active
	answer, err := w.api.ShowWorkspace(w.t.Context(), w.id)
	if err == nil && !reflect.DeepEqual(answer, want) {
		err = fmt.Errorf("%w: got the workspace %s, want %s", errWrong, inJSON(answer), inJSON(want))
	}
	return err
}

func inJSON(value any) string {
	encoded, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(encoded)
}
