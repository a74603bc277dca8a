package test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestTraces_holdNoToken has the server send its traces to a collector, and
// looks for the tokens of requests that passed, and that did not.
func TestTraces_holdNoToken(t *testing.T) {
	var mu sync.Mutex
	var spans bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		mu.Lock()
		defer mu.Unlock()
		_, _ = spans.ReadFrom(body)
	}))
	t.Cleanup(collector.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")

	s := start(t, strings.Replace(gatewayConfig, "	api_key_auth\n", "	tracing {\n		span public_api\n	}\n	api_key_auth\n", 1))
	_, full := s.create("acme", "Warehouse sync", "full_access")
	key, revoked := s.create("acme", "Old export", "full_access")
	s.revoke(key)
	tokens := []string{full, revoked, reChecksum(full), full[:len(full)-1]}
	for _, c := range clients(t, s) {
		for _, token := range tokens {
			c.send(t, "GET", "/public/v1/me", nil, "Authorization", "Bearer "+token)
		}
	}
	s.stop() // which sends what is left

	mu.Lock()
	defer mu.Unlock()
	if !bytes.Contains(spans.Bytes(), []byte("public_api")) {
		t.Fatalf("the collector got %d bytes without the span", spans.Len())
	}
	for _, token := range tokens {
		if secret := token[4:40]; bytes.Contains(spans.Bytes(), []byte(secret)) {
			t.Error("a token is in the traces")
		}
	}
}
