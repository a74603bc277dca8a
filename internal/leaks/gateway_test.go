package leaks

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

var start = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newSigner() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// published returns public keys in GitHub's form.
func published(keys map[string]any) []byte {
	type key struct {
		Identifier string `json:"key_identifier"`
		Key        string `json:"key"`
		Current    bool   `json:"is_current"`
	}
	var all []key
	for id, public := range keys {
		der := must(x509.MarshalPKIXPublicKey(public))
		all = append(all, key{id, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), false})
	}
	return must(json.Marshal(map[string]any{"public_keys": all}))
}

func sign(by *ecdsa.PrivateKey, body string) string {
	digest := sha256.Sum256([]byte(body))
	return base64.StdEncoding.EncodeToString(must(ecdsa.SignASN1(rand.Reader, by, digest[:])))
}

// gateway is a handler with a store of one key.
type gateway struct {
	*Handler
	store    *store.Store
	signer   *ecdsa.PrivateKey
	key      apikey.Key
	token    apikey.Token
	outcomes []string
	log      *observer.ObservedLogs
}

func newGateway(t testing.TB, revoke bool) *gateway {
	s, err := store.Open(filepath.Join(t.TempDir(), "keys"), zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	core, logged := observer.New(zap.DebugLevel)
	g := &gateway{store: s, signer: newSigner(), token: apikey.NewToken("agk"), log: logged}
	g.key = apikey.Key{
		ID: apikey.NewKeyID(start), WorkspaceID: "acme", Name: "Warehouse sync", Preset: apikey.FullAccess,
		Digest: g.token.Digest(), TokenHint: g.token.Hint(), CreatedAt: start, CreatedBy: "ops", ExpiresAt: start.Add(90 * 24 * time.Hour),
	}
	must(s.Apply(context.Background(), apikey.Change{EventID: apikey.NewEventID(start), At: start, Actor: "ops", Do: apikey.Create{Key: g.key}}))
	g.Handler = &Handler{
		Keys: func() Keys { return s }, TokenPrefix: "agk", Revoke: revoke,
		Signers:  must(ParseSigners(published(map[string]any{"ours": &g.signer.PublicKey}))),
		Now:      func() time.Time { return start.Add(time.Hour) },
		RemoteIP: func(*http.Request) string { return "192.0.2.1" },
		Log:      zap.New(core), Observe: func(outcome string) { g.outcomes = append(g.outcomes, outcome) },
	}
	return g
}

func (g *gateway) post(body, identifier, signature string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/leaks/github", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Github-Public-Key-Identifier", identifier)
	r.Header.Set("Github-Public-Key-Signature", signature)
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

func (g *gateway) report(body string) *httptest.ResponseRecorder {
	return g.post(body, "ours", sign(g.signer, body))
}

func (g *gateway) found(t *testing.T) *apikey.Key {
	t.Helper()
	key, err := g.store.Lookup(g.token.Digest())
	if err != nil {
		t.Fatal(err)
	}
	return key
}
