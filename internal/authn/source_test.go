package authn

import (
	"context"
	"crypto/sha256"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// source is an in-memory store. It is safe for concurrent use.
type source struct {
	mu        sync.Mutex
	keys      map[apikey.Digest]apikey.Key
	suspended []string
	sure      bool // MayHave rules out unknown keys
	prefixes  apikey.Prefixes

	lookups atomic.Int64
	// during runs in a look-up, after the key has been read. It returns what the
	// look-up returns, and may also wait or panic. It may be nil.
	during func(*apikey.Key) (*apikey.Key, error)
}

func (s *source) Grant(digest apikey.Digest) (apikey.Grant, error) {
	key, err := s.lookup(digest)
	if key == nil {
		return apikey.Grant{}, err
	}
	return key.Grant(), err
}

func (s *source) lookup(digest apikey.Digest) (*apikey.Key, error) {
	s.lookups.Add(1)
	s.mu.Lock()
	key, found := s.keys[digest]
	s.mu.Unlock()
	if s.during != nil {
		return s.during(&key)
	}
	if !found {
		return nil, apikey.ErrNotFound
	}
	return &key, nil
}

func (s *source) MayHave(digest apikey.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.keys[digest]
	return found || !s.sure
}

func (s *source) Prefixes() *apikey.Prefixes { return &s.prefixes }

func (s *source) SuspendedWorkspaces() ([]string, error) { return s.suspended, nil }

// put adds or changes a key.
func (s *source) put(key apikey.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = make(map[apikey.Digest]apikey.Key)
	}
	s.keys[key.Digest] = key
}

// fullKey returns a token and its key, which has full access for an hour from the
// epoch.
func fullKey() (apikey.Token, apikey.Key) {
	token := apikey.NewToken(apikey.DefaultPrefix)
	return token, apikey.Key{
		ID:          apikey.NewKeyID(epoch),
		WorkspaceID: "acme",
		Preset:      apikey.FullAccess,
		Digest:      token.Digest(),
		ExpiresAt:   epoch.Add(time.Hour),
	}
}

// addForeign puts a key with a foreign token into the source.
func (s *source) addForeign(token string) apikey.Key {
	_, key := fullKey()
	key.Digest, key.TokenHint, key.Imported = sha256.Sum256([]byte(token)), "…", true
	s.put(key)
	return key
}

// add puts a new key into the source, and returns its token.
func (s *source) add() (apikey.Token, apikey.Key) {
	token, key := fullKey()
	s.put(key)
	return token, key
}

func newAuthenticator(t testing.TB, s Source, now func() time.Time) *Authenticator {
	t.Helper()
	a, err := New(s, 1000, now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func atEpoch() time.Time { return epoch }

var policy = &Policy{ReadMethods: []string{http.MethodGet, http.MethodHead, http.MethodOptions}}

// request returns the facts of a plain request with the token.
func request(method string, token apikey.Token) *Facts {
	return &Facts{Method: method, Authorization: []string{"Bearer " + token.Reveal()}}
}

// get checks a GET with the token.
func get(a *Authenticator, token apikey.Token) Decision {
	return a.Check(context.Background(), policy, request(http.MethodGet, token))
}

func checkResult(t *testing.T, what string, got Decision, want Result) {
	t.Helper()
	if got.Result != want {
		t.Errorf("%s: got %q, want %q", what, got.Result, want)
	}
	if got.Allowed() != (want == Allowed) {
		t.Errorf("%s: Allowed() = %t for %q", what, got.Allowed(), want)
	}
}
