package admin

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/internal/described"
)

// readDescription reads the description, as by clients, and only once: compiling it takes
// a while.
var readDescription = sync.OnceValues(func() (described.Description, error) {
	served, err := openapiJSON()
	if err != nil {
		return nil, err
	}
	return described.Read(served, importType)
})

func theDescription(t testing.TB) described.Description {
	t.Helper()
	d, err := readDescription()
	if err != nil {
		t.Fatalf("reading the description: %v", err)
	}
	return d
}

// held wraps a handler, and fails the test if a response does not match the
// description, or if a request that does not match it is accepted. All requests of
// the tests go through it.
func held(t testing.TB, next http.Handler) http.Handler {
	d := theDescription(t)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var sent bytes.Buffer
		heard := &recorder{ResponseWriter: w, status: http.StatusOK}
		if r.URL.Path == "/import" {
			next.ServeHTTP(duplex{heard}, teed(r, &sent))
		} else {
			next.ServeHTTP(heard, teed(r, &sent))
		}
		got := described.Answer{Status: heard.status, Header: heard.Header(), Body: heard.body.Bytes()}
		for _, mismatch := range d.Mismatches(r, sent.Bytes(), got) {
			t.Errorf("%s %s answered with %d and %s: %s", r.Method, r.URL, heard.status, heard.body.Bytes(), mismatch)
		}
	})
}

// teed returns a request whose body is copied as it is read.
func teed(r *http.Request, to io.Writer) *http.Request {
	copied := *r
	copied.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r.Body, to), r.Body}
	return &copied
}

// recorder keeps a copy of a response.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// duplex is a recorder of responses that begin before their request has ended.
type duplex struct{ *recorder }

// Unwrap returns the writer that is recorded, for [http.ResponseController].
func (w duplex) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.body.Write(p)
	return w.ResponseWriter.Write(p)
}
