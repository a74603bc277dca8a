package test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spans are what a server has sent to the collector of its traces.
type spans struct {
	mu   sync.Mutex
	all  []*traces.Span
	raw  []byte // as they were sent
	errs []error
	env  []string // of servers that send their spans here
}

// collect returns where servers with its env send the spans of all requests.
func collect(t *testing.T) *spans {
	t.Helper()
	s := new(spans)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + server.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_TRACES_EXPORTER=otlp"}
	return s
}

// traced is gatewayConfig with spans of the given name around the gateway.
func traced(name string) string {
	return strings.Replace(gatewayConfig, "	api_key_auth\n", "	tracing {\n		span "+name+"\n	}\n	api_key_auth\n", 1)
}

func (s *spans) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.add(r); err != nil {
		s.errs = append(s.errs, err)
	}
}

func (s *spans) add(r *http.Request) error {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = unzipped
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	s.raw = append(s.raw, raw...)
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(raw, &request); err != nil {
		return err
	}
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			s.all = append(s.all, scope.Spans...)
		}
	}
	return nil
}

// received returns the spans of a server that has been stopped: it sends what
// is left then.
func (s *spans) received(t *testing.T) ([]*traces.Span, []byte) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, err := range s.errs {
		t.Errorf("reading spans: %v", err)
	}
	return s.all, s.raw
}

// attributes returns the text values that a span has.
func attributes(span *traces.Span) map[string]string {
	values := make(map[string]string)
	for _, attribute := range span.Attributes {
		values[attribute.Key] = attribute.Value.GetStringValue()
	}
	return values
}
