package test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// hookMessage is a message as it has arrived.
type hookMessage struct {
	ID        string
	At        time.Time // when it arrived
	Type      string
	Timestamp time.Time
	Data      struct {
		WorkspaceID string      `json:"workspace_id"`
		Key         *client.Key `json:"key"`
		Within      string      `json:"within"`
	}
	Body string
}

// hookReceiver is a webhook that a test answers for.
type hookReceiver struct {
	t      *testing.T
	server *httptest.Server
	secret string

	mu       sync.Mutex
	answer   func(hookMessage, http.ResponseWriter)
	messages []hookMessage // all tries
	taken    []hookMessage // those that were answered with 2xx
}

// newHookReceiver starts a webhook, which answers with 204.
func newHookReceiver(t *testing.T) *hookReceiver {
	t.Helper()
	r := &hookReceiver{t: t, secret: hookSecret(t.Name())}
	r.server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.server.CloseClientConnections()
		r.server.Close()
	})
	return r
}

// hookSecret returns a secret of 32 bytes.
func hookSecret(seed string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte((seed + strings.Repeat("-", 32))[:32]))
}

// ServeHTTP implements http.Handler.
func (r *hookReceiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // the gateway has hung up
	}
	verifier, err := standardwebhooks.NewWebhook(r.secret)
	if err == nil {
		err = verifier.Verify(body, request.Header)
	}
	m := hookMessage{ID: request.Header.Get("webhook-id"), At: time.Now(), Body: string(body)}
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil || request.Method != http.MethodPost || request.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("got a message that is not one: %v: %s %s", err, request.Method, body)
	}
	r.mu.Lock()
	r.messages = append(r.messages, m)
	answer := r.answer
	r.mu.Unlock()
	status := &statusWriter{ResponseWriter: w, status: http.StatusNoContent}
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
	} else {
		answer(m, status)
	}
	if status.status/100 == 2 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.taken = append(r.taken, m)
	}
}

// statusWriter notes the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// say changes what the webhook answers.
func (r *hookReceiver) say(answer func(hookMessage, http.ResponseWriter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// tries returns all messages that have arrived; received only those that were taken.
func (r *hookReceiver) tries() []hookMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

func (r *hookReceiver) received() []hookMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.taken)
}

// count returns how many messages were taken.
func (r *hookReceiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.taken)
}

// await waits until n messages were taken, and returns them.
func (r *hookReceiver) await(n int) []hookMessage {
	r.t.Helper()
	gatewaytest.Await(r.t, "the messages", func() bool { return r.count() >= n })
	return r.received()
}

// option returns the option webhook of api_keys, whose secret is in the environment.
func (r *hookReceiver) option(lines ...string) string {
	return "webhook " + r.server.URL + "/hooks {\n\t\t\tsecret {env.HOOK_SECRET}\n\t\t\t" + strings.Join(lines, "\n\t\t\t") + "\n\t\t}"
}

// withWebhooks returns gatewayConfig with lines in its api_keys.
func withWebhooks(lines ...string) string {
	return httpOnly(strings.Replace(gatewayConfig, "api_keys {", "api_keys {\n\t\t"+strings.Join(lines, "\n\t\t"), 1))
}

// startHooked starts a gateway with one webhook.
func startHooked(t *testing.T, r *hookReceiver, lines ...string) *server {
	t.Helper()
	return startRaced(t, withWebhooks(r.option(lines...)), "HOOK_SECRET="+r.secret)
}
