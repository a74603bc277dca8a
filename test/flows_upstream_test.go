package test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// far is the other end of the flows: an upstream that says what it sees of each,
// by the path.
type far struct {
	*httptest.Server
	flows sync.Map // of path to *farFlow
}

// farFlow is one request as the upstream sees it.
type farFlow struct {
	begun, ended chan struct{} // closed

	// Once it has ended:
	last time.Time // when a piece of the body came
	err  error     // of reading the body; nil if it came to its end
}

func newFar(t *testing.T) *far {
	f := new(far)
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	t.Cleanup(f.CloseClientConnections)
	return f
}

// expect returns what is seen of a path.
func (f *far) expect(path string) *farFlow {
	flow := &farFlow{begun: make(chan struct{}), ended: make(chan struct{})}
	f.flows.Store(path, flow)
	return flow
}

func (f *far) serve(w http.ResponseWriter, r *http.Request) {
	found, ok := f.flows.Load(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	flow := found.(*farFlow)
	defer close(flow.ended)
	if r.Method == http.MethodPost {
		flow.err = flow.take(r.Body)
		return
	}
	idle := strings.HasSuffix(r.URL.Path, "/idle")
	if strings.HasPrefix(r.URL.Path, "/export") {
		w.Header().Set("Content-Length", "1000000000")
	} else {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	piece := []byte(strings.Repeat("x", 8<<10))
	tick := time.NewTicker(pace)
	for sent := 0; r.Context().Err() == nil; sent++ {
		_, _ = w.Write(piece)
		_ = http.NewResponseController(w).Flush()
		if sent == 2 {
			close(flow.begun)
			if idle {
				<-r.Context().Done()
				return
			}
		}
		<-tick.C
	}
}

// take reads a body to its end.
func (f *farFlow) take(body io.Reader) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 && f.last.IsZero() {
			close(f.begun)
		}
		if n > 0 {
			f.last = time.Now()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
