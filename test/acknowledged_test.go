package test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// createdKey is what became of a key whose creation was acknowledged.
type createdKey struct {
	key     client.Key
	token   string
	revoked progress
}

// progress is how far a change came.
type progress int

const (
	never progress = iota
	begun          // it may have been made or not
	done           // it was acknowledged
)

// changeUntilStopped makes and revokes keys from several clients at once, stops
// the server after so and so many answers, and returns what they were told.
func (s *server) changeUntilStopped(round int) (created []*createdKey) {
	s.T.Helper()
	ctx := s.T.Context()
	left := atomic.Int32{}
	left.Store(5 + rand.Int32N(60))
	answered := func() {
		if left.Add(-1) == 0 {
			_ = s.Cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	var mu sync.Mutex
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			workspace := fmt.Sprintf("round-%d-%d", round, w)
			keys := s.Keys()
			for i := 0; ctx.Err() == nil; i++ {
				answer, err := keys.CreateKey(ctx, workspace, client.CreateRequest{Name: fmt.Sprintf("Key number %d", i), Preset: "full_access"})
				if err != nil {
					return
				}
				f := &createdKey{key: answer.Key, token: answer.Token}
				mu.Lock()
				created = append(created, f)
				mu.Unlock()
				answered()
				if i%2 == 0 {
					continue
				}
				f.revoked = begun
				if _, err := keys.RevokeKey(ctx, workspace, f.key.ID, ""); err != nil {
					return
				}
				f.revoked = done
				answered()
			}
		})
	}
	workers.Wait()
	<-s.Exited
	return created
}

// wantFate checks what a token is worth, and that the key is shown so.
func (s *server) wantFate(t *testing.T, f *createdKey) {
	t.Helper()
	shown, err := s.Keys().ShowKey(t.Context(), f.key.WorkspaceID, f.key.ID)
	if err != nil {
		t.Errorf("the key %s was acknowledged, and is lost: %v", f.key.ID, err)
		return
	}
	want := map[string]int{"active": http.StatusOK, "revoked": http.StatusUnauthorized}[shown.Status]
	s.wantStatus(t, f.token, want)
	if f.revoked == done && shown.Status != "revoked" || f.revoked == never && shown.Status != "active" {
		t.Errorf("the key %s is %s; its revocation: %d (0 never asked for, 1 asked for, 2 acknowledged)", f.key.ID, shown.Status, f.revoked)
	}
}
