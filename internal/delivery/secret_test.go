package delivery

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// secretOf returns a secret of n bytes.
func secretOf(n int, c byte) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(c), n)))
}

func mustParse(t testing.TB, texts ...string) (secrets []Secret) {
	t.Helper()
	for _, text := range texts {
		secret, err := ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, secret)
	}
	return secrets
}

func TestParseSecret(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{secretOf(24, 'a'), ""},
		{secretOf(32, 'a'), ""},
		{secretOf(64, 'a'), ""},
		{secretOf(23, 'a'), "and this one has 23"},
		{"whsec_", "and this one has 0"},
		{"", "is whsec_ and base64"},
		{strings.TrimPrefix(secretOf(32, 'a'), "whsec_"), "is whsec_ and base64"},
		{"whsec_" + strings.Repeat("!", 40), "is whsec_ and base64"},
		{strings.TrimSuffix(secretOf(32, 'a'), "="), "is whsec_ and base64"},
	} {
		_, err := ParseSecret(test.text)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: got %v, want no error", test.text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q in it", test.text, err, test.want)
		} else if rest := strings.TrimPrefix(test.text, "whsec_"); rest != "" && strings.Contains(err.Error(), rest) {
			t.Errorf("%s: got %q, which has the secret", test.text, err)
		}
	}
}

func TestSecret_redacted(t *testing.T) {
	text := secretOf(32, 'x')
	secret := mustParse(t, text)[0]
	encoded, err := json.Marshal(struct{ S Secret }{secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		encoded = fmt.Appendf(encoded, verb, []Secret{secret})
	}
	for _, leak := range []string{text, "xxx", "787878", "120 120"} {
		if strings.Contains(string(encoded), leak) {
			t.Errorf("got %s, want it without the secret", encoded)
		}
	}
}

// Either of two secrets verifies a message.
func TestSign_verifies(t *testing.T) {
	oldText, newText, otherText := secretOf(24, 'a'), secretOf(40, 'b'), secretOf(24, 'c')
	at, body := time.Now(), []byte(`{"type":"key.created"}`)
	signature, err := sign(mustParse(t, newText, oldText), "msg_1", at, body)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	header.Set("webhook-id", "msg_1")
	header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	header.Set("webhook-signature", signature)
	for text, want := range map[string]bool{oldText: true, newText: true, otherText: false} {
		verifier, err := standardwebhooks.NewWebhook(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(body, header); (err == nil) != want {
			t.Errorf("%s: got %v, want it verified: %v", text, err, want)
		}
	}
}

// TestSign_documented is the example of the specification.
func TestSign_documented(t *testing.T) {
	got, err := sign(mustParse(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add(secretOf(24, 'a'))
	f.Add("whsec_")
	f.Add("whsec_a\nb=")
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := ParseSecret(text)
		if err != nil {
			if rest := strings.TrimPrefix(text, "whsec_"); len(rest) > 8 && strings.Contains(err.Error(), rest) {
				t.Errorf("%q is in its error %q", text, err)
			}
			return
		}
		// Receivers read it with the library.
		verifier, err := standardwebhooks.NewWebhook(text)
		if err != nil {
			t.Fatalf("%q: the library refuses it: %v", text, err)
		}
		got, _ := sign([]Secret{secret}, "id", time.Unix(1, 0), nil)
		if want, _ := verifier.Sign("id", time.Unix(1, 0), nil); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	})
}
