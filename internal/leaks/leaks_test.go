package leaks

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// A report that is not signed, or wrongly, has no effect; its body is not even read where
// that can be known without it.
func TestHandler_refuses(t *testing.T) {
	g := newGateway(t, true)
	body := `[{"token":"` + g.token.Reveal() + `","type":"agk","url":""}]`
	good, other := sign(g.signer, body), newSigner()
	large := strings.Repeat(" ", maxBody) + body
	for _, test := range []struct {
		name, body, identifier, signature string
		status                            int
		outcome                           string
	}{
		{"no signature", body, "ours", "", 401, Unauthorized},
		{"no identifier", body, "", good, 401, Unauthorized},
		{"a signature that is not base64", body, "ours", "!" + good, 401, Unauthorized},
		{"a signature that is too long", body, "ours", strings.Repeat("A", 1000), 401, Unauthorized},
		{"a signature that is none", body, "ours", base64.StdEncoding.EncodeToString([]byte("rubbish")), 401, Unauthorized},
		{"a signature of zeros", body, "ours", "MAYCAQACAQA=", 401, Unauthorized},
		{"signed by another", body, "ours", sign(other, body), 401, Unauthorized},
		{"signed by another, under its own name", body, "theirs", sign(other, body), 401, UnknownSigner},
		{"another body", body + " ", "ours", good, 401, Unauthorized},
		{"too large", large, "ours", sign(g.signer, large), 413, TooLarge},
		{"no JSON", "token", "ours", sign(g.signer, "token"), 400, Malformed},
		{"an object", "{}", "ours", sign(g.signer, "{}"), 400, Malformed},
		{"null", "null", "ours", sign(g.signer, "null"), 400, Malformed},
		{"two arrays", "[][]", "ours", sign(g.signer, "[][]"), 400, Malformed},
	} {
		g.outcomes = nil
		got := g.post(test.body, test.identifier, test.signature)
		if got.Code != test.status || len(g.outcomes) != 1 || g.outcomes[0] != test.outcome {
			t.Errorf("%s: got status %d and outcome %q, want %d and %q", test.name, got.Code, g.outcomes, test.status, test.outcome)
		}
	}
	if key := g.found(t); !key.LeakedAt.IsZero() || !key.RevokedAt.IsZero() {
		t.Errorf("got %+v, want a key that nothing has changed", key)
	}
	for _, entry := range g.log.All() {
		if strings.Contains(string(must(json.Marshal(entry.ContextMap()))), g.token.Reveal()) {
			t.Error("the log has the token")
		}
	}

	r := httptest.NewRequest(http.MethodGet, "/leaks/github", nil)
	w := httptest.NewRecorder()
	if g.ServeHTTP(w, r); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: got status %d and Allow %q, want 405 and POST", w.Code, w.Header().Get("Allow"))
	}
	g.Keys = func() Keys { return nil }
	if w := g.report(body); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("without a store: got status %d, want 503 and when to try again", w.Code)
	}
}

// slow is a connection over which the rest of a body never arrives.
type slow struct {
	http.ResponseWriter
	late chan struct{}
}

func (s slow) SetReadDeadline(at time.Time) error {
	if !at.IsZero() {
		time.AfterFunc(time.Until(at), func() { close(s.late) })
	}
	return nil
}

func (s slow) Read([]byte) (int, error) {
	<-s.late
	return 0, os.ErrDeadlineExceeded
}

// Of those who have no key, few can have a body in memory, and none for long.
func TestHandler_slow(t *testing.T) {
	g := newGateway(t, true)
	bubble.Test(t, func(t *testing.T) {
		statuses := make(chan int, maxReading)
		for range maxReading {
			go func() {
				w := httptest.NewRecorder()
				s := slow{w, make(chan struct{})}
				r := httptest.NewRequest(http.MethodPost, "/leaks/github", s)
				r.Header.Set("Github-Public-Key-Identifier", "ours")
				r.Header.Set("Github-Public-Key-Signature", "MAYCAQACAQA=")
				(&Handler{Signers: g.Signers, Observe: func(string) {}}).ServeHTTP(s, r)
				statuses <- w.Code
			}()
		}
		bubble.Wait()
		if w := g.report("[]"); w.Code != 503 || w.Header().Get("Retry-After") == "" || g.outcomes[0] != TooMany {
			t.Errorf("while %d arrive: got status %d and outcome %q, want 503 and when to try again", maxReading, w.Code, g.outcomes)
		}
		time.Sleep(readTime)
		for range maxReading {
			if status := <-statuses; status != 408 {
				t.Errorf("got status %d for one that has not arrived, want 408", status)
			}
		}
		if w := g.report("[]"); w.Code != 200 {
			t.Errorf("after that: got status %d, want 200", w.Code)
		}
	})
}

// A key is marked, or revoked too. Reported again, it stays as it is; revoked is what was
// only marked.
func TestHandler_takes(t *testing.T) {
	g := newGateway(t, false)
	const page = "https://github.com/acme/scripts/blob/main/sync.sh"
	body := string(must(json.Marshal([]map[string]any{
		{"token": g.token.Reveal(), "type": "agk_token", "url": page, "source": "content", "new_member": 1},
		{"token": g.token.Reveal(), "type": "agk_token", "url": "", "source": "commit"},
		{"token": apikey.NewToken("agk").Reveal(), "type": "agk_token", "url": page},
		{"token": "not a token", "type": "other", "url": page},
	})))
	check := func(what string) {
		t.Helper()
		w := g.report(body)
		var answers []feedback
		if err := json.Unmarshal(w.Body.Bytes(), &answers); w.Code != 200 || err != nil || len(answers) != 4 {
			t.Fatalf("%s: got status %d, %s, want an answer for each", what, w.Code, w.Body)
		}
		for i, want := range []label{truePositive, truePositive, falsePositive, falsePositive} {
			if answers[i].Label != want {
				t.Errorf("%s: got label %s for match %d, want %s", what, answers[i].Label, i+1, want)
			}
		}
		if want := fmt.Sprintf("%x", g.token.Digest()); answers[0].TokenHash != want || strings.Contains(w.Body.String(), g.token.Reveal()) {
			t.Errorf("%s: got %s, want the hash %s, and not the token", what, w.Body, want)
		}
	}
	check("marked")
	key := g.found(t)
	if want := g.Now(); !key.LeakedAt.Equal(want) || !key.RevokedAt.IsZero() {
		t.Errorf("got leaked at %v, revoked at %v, want %v and not revoked", key.LeakedAt, key.RevokedAt, want)
	}
	first := key.LeakedAt
	g.Handler.Now = func() time.Time { return start.Add(2 * time.Hour) }
	check("again")
	if key := g.found(t); !key.LeakedAt.Equal(first) {
		t.Errorf("got leaked at %v after another report, want %v", key.LeakedAt, first)
	}
	g.Revoke = true
	check("revoked")
	key = g.found(t)
	if !key.LeakedAt.Equal(first) || !key.RevokedAt.Equal(g.Now()) || key.RevokedBy != Source {
		t.Errorf("got leaked at %v, revoked at %v by %s, want it revoked", key.LeakedAt, key.RevokedAt, key.RevokedBy)
	}
	check("reported once more")
	events, _, err := g.store.Events(context.Background(), "acme", apikey.Page{Limit: 10})
	if err != nil || len(events) != 3 {
		t.Fatalf("got %d events, %v, want 3: that it was created, marked and revoked", len(events), err)
	}
	if d := events[1].Details; events[1].Operation != apikey.OpLeak || d["revoked"] != false || d["source"] != Source {
		t.Errorf("got the event %+v, want one that marks it", events[1])
	}
	if d := events[0].Details; events[0].Operation != apikey.OpLeak || d["revoked"] != true {
		t.Errorf("got the event %+v, want one that revokes it", events[0])
	}
	if w := g.report("[]"); w.Code != 200 || strings.TrimSpace(w.Body.String()) != "[]" {
		t.Errorf("nothing found: got status %d, %s, want an empty array", w.Code, w.Body)
	}
}

func TestParseSigners_refuses(t *testing.T) {
	ours, other := &newSigner().PublicKey, &must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).PublicKey
	valid := string(published(map[string]any{"ours": ours}))
	for name, test := range map[string]struct{ file, want string }{
		"no JSON":        {"-----BEGIN PUBLIC KEY-----", "JSON"},
		"another form":   {`{"keys":[]}`, "public_keys"},
		"no identifier":  {strings.Replace(valid, "ours", "", 1), "key_identifier"},
		"no PEM":         {strings.Replace(valid, "-----BEGIN", "BEGIN", 1), "PEM"},
		"a broken key":   {strings.Replace(valid, `PUBLIC KEY-----\n`, `PUBLIC KEY-----\nAAAA`, 1), ""},
		"another curve":  {string(published(map[string]any{"ours": other})), "P-256"},
		"twice the same": {strings.Replace(valid, "[", "["+strings.TrimSuffix(strings.SplitN(valid, "[", 2)[1], "]}")+",", 1), "another key"},
	} {
		if signers, err := ParseSigners([]byte(test.file)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, %v, want an error about %q", name, signers, err, test.want)
		}
	}
}

// FuzzReport sends signed reports with anything in them: each is answered, and only the one
// key is ever changed.
func FuzzReport(f *testing.F) {
	g := newGateway(f, false)
	for _, seed := range []string{
		"", "[]", "{}", "null", "[null]", "[[]]", `[{"token":1}]`, `[{"token":"agk_x","type":"","url":"javascript:alert(1)"}]`, "[{}]", "[" + strings.Repeat("[", 100),
		`[{"token":"` + g.token.Reveal() + `","type":"\u0000","url":"https://user:pw@example.com/` + g.token.Reveal() + `"}]`, "\ufeff[]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		w := g.report(body)
		if w.Code != 200 && w.Code != 400 {
			t.Fatalf("%q: got status %d, want 200 or 400", body, w.Code)
		}
		if strings.Contains(w.Body.String(), g.token.Reveal()) {
			t.Fatalf("%q: the answer has the token", body)
		}
	})
}
