package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// Lines are answered while the input pauses, over HTTP/1.1 and HTTP/2, also for a client
// that asks for permission to send its body.
func TestImport_whileInputPauses(t *testing.T) {
	for title, expect := range map[string]string{"at once": "", "once it may": "100-continue"} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/http2=%t", title, http2), func(t *testing.T) {
				a := newAPI(t)
				server := httptest.NewUnstartedServer(a.Config.Handler)
				server.EnableHTTP2 = http2
				server.StartTLS()
				defer server.Close()
				reader, writer := io.Pipe()
				r, err := http.NewRequest("POST", server.URL+"/import", reader)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", importType)
				if expect != "" {
					r.Header.Set("Expect", expect)
					go func() { _, _ = io.WriteString(writer, "\n") }() // which starts the answer
				}
				transport := server.Client().Transport.(*http.Transport)
				transport.ExpectContinueTimeout = time.Minute
				response, err := transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				equal(t, "protocol", response.ProtoMajor == 2, http2)
				answers := bufio.NewScanner(response.Body)
				for n := range 3 {
					if _, err := io.WriteString(writer, ndjson(t, importLine(fmt.Sprint("Key ", n), fmt.Sprint("sk_", n)))); err != nil {
						t.Fatal(err)
					}
					if !answers.Scan() || !strings.Contains(answers.Text(), `"outcome":"imported"`) {
						t.Fatalf("line %d: got %q (%v), want it imported", n, answers.Text(), answers.Err())
					}
				}
				writer.Close()
				if !answers.Scan() || answers.Text() != `{"imported":3,"unchanged":0,"refused":0}` {
					t.Errorf("got %q (%v), want the summary", answers.Text(), answers.Err())
				}
			})
		}
	}
}

// flushed is an answer that says when its status is on its way.
type flushed struct {
	http.ResponseWriter
	sent chan struct{}
	once sync.Once
}

// Flush implements http.Flusher.
func (f *flushed) Flush() {
	f.ResponseWriter.(http.Flusher).Flush()
	f.once.Do(func() { close(f.sent) })
}

func (f *flushed) Unwrap() http.ResponseWriter { return f.ResponseWriter }

// lateBody is a body of which nothing is read before its answer has begun.
type lateBody struct {
	io.ReadCloser
	begun <-chan struct{}
}

func (b lateBody) Read(p []byte) (int, error) {
	<-b.begun
	return b.ReadCloser.Read(p)
}

// Over HTTP/2, a client that asks for permission to send its body gets it, even if the
// answer begins before the body is read. Nobody can see that it asked: Go's server removes
// the header.
func TestImport_permissionOverHTTP2(t *testing.T) {
	a := newAPI(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &flushed{ResponseWriter: w, sent: make(chan struct{})}
		r.Body = lateBody{r.Body, answer.sent}
		a.Config.Handler.ServeHTTP(answer, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/import", strings.NewReader(ndjson(t, importLine("One", "sk_1"))))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", importType)
	r.Header.Set("Expect", "100-continue")
	transport := server.Client().Transport.(*http.Transport)
	transport.ExpectContinueTimeout = time.Hour // a client that waits for as long as it takes
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	equal(t, "protocol", response.ProtoMajor, 2)
	answer, err := io.ReadAll(response.Body)
	if err != nil || !strings.HasSuffix(string(answer), `{"imported":1,"unchanged":0,"refused":0}`+"\n") {
		t.Errorf("got %q (%v), want one key imported", answer, err)
	}
}

// A client that hangs up within a line leaves the lines before it imported, and nothing of
// that one.
func TestImport_cutOff(t *testing.T) {
	a := newAPI(t)
	body := ndjson(t, importLine("One", "sk_1"))
	rest := strings.TrimSuffix(ndjson(t, importLine("Two", "sk_2")), "\n")
	conn, err := net.Dial("tcp", a.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /import HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s%s", importType, len(body)+len(rest)+1, body, rest)
	reader := bufio.NewReader(conn)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			t.Fatalf("got error %v, want an answer", err)
		}
		if strings.Contains(line, `"outcome":"imported"`) {
			break
		}
	}
	conn.Close()
	a.Close() // which waits for the call
	equal(t, "observed", a.observed, []string(nil))
	counts, err := a.store.CountKeys(t.Context(), "acme", start)
	if err != nil || counts[apikey.Active] != 1 {
		t.Errorf("got %v keys (%v), want the first one", counts, err)
	}
}

// failingLater is a store that fails from some change on.
type failingLater struct {
	*store.Store
	after int
	err   error
}

func (f *failingLater) ApplyAll(ctx context.Context, changes []apikey.Change) ([]apikey.Planned, error) {
	if f.after--; f.after < 0 {
		return nil, f.err
	}
	return f.Store.ApplyAll(ctx, changes)
}

// Once the store has failed, each line is refused with its code, and no more are tried.
func TestImport_storeFails(t *testing.T) {
	for code, err := range map[string]error{"store_unavailable": errors.New("the disk is gone"), "no_space": apikey.ErrNoSpace} {
		keys := &failingLater{after: 1, err: err}
		a := newAPI(t, func(c *Config) { c.Keys = func() Keys { return keys } })
		keys.Store = a.store
		reader, writer := io.Pipe()
		answered := make(chan client.ImportResult)
		go func() {
			for n := range 4 {
				line := ndjson(t, importLine(fmt.Sprint("Key ", n), fmt.Sprint("sk_", n)))
				if n == 3 {
					line = "{}\n"
				}
				_, _ = io.WriteString(writer, line)
				got := <-answered
				have := ""
				if got.Err != nil {
					have = got.Err.Code
				}
				equal(t, fmt.Sprintf("code of line %d", n+1), have, []string{"", code, code, "invalid_workspace"}[n])
			}
			writer.Close()
		}()
		summary, err := newClient(a.URL).Import(t.Context(), reader, client.ImportOptions{Each: func(r client.ImportResult) error {
			answered <- r
			return nil
		}})
		if want := (client.ImportSummary{Imported: 1, Refused: 3}); err != nil || summary != want {
			t.Errorf("got %+v, %v, want %+v", summary, err, want)
		}
		a.Close() // which waits for the call
		equal(t, "tried", keys.after, -1)
		equal(t, "observed", a.observed, []string{"import " + code})
	}
}

// generated is the body of an import of so many keys.
type generated struct {
	left, n int
	rest    []byte
}

func (g *generated) Read(p []byte) (int, error) {
	if len(g.rest) == 0 {
		if g.left == 0 {
			return 0, io.EOF
		}
		g.left--
		g.n++
		g.rest = fmt.Appendf(nil, `{"workspace_id":"ws%d","name":"Imported key %d","preset":"read_only","token_sha256":"%s"}`+"\n", g.n%100, g.n, sha256Of(fmt.Sprint("sk_", g.n)))
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// A client may send everything before it reads an answer.
func TestImport_sentBeforeRead(t *testing.T) {
	const all = 3000
	a := newAPI(t)
	body, err := io.ReadAll(&generated{left: all})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", a.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /import HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", importType, len(body), body)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(response.Body)
	if want := fmt.Sprintf(`{"imported":%d,"unchanged":0,"refused":0}`+"\n", all); err != nil || !strings.HasSuffix(string(raw), want) {
		t.Errorf("got %.200q (%v), want the summary %s", raw[max(0, len(raw)-200):], err, want)
	}
}

// heapInUse returns how many bytes are in use after a collection.
func heapInUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse
}

// BenchmarkImport measures how many lines are imported in a second, and the memory that is
// in use while they are.
func BenchmarkImport(b *testing.B) {
	for _, dryRun := range []bool{false, true} {
		b.Run(fmt.Sprintf("dry=%t", dryRun), func(b *testing.B) {
			a := newAPI(b, func(c *Config) { c.Clock = func() apikey.ClockReading { return apikey.ClockReading{Judged: start} } })
			server := httptest.NewServer(a.api)
			defer server.Close()
			before := heapInUse()
			most := before
			b.ResetTimer()
			summary, err := newClient(server.URL).Import(b.Context(), &generated{left: b.N}, client.ImportOptions{DryRun: dryRun, Each: func(r client.ImportResult) error {
				if r.Line%20000 == 0 {
					most = max(most, heapInUse())
				}
				return nil
			}})
			if err != nil || summary.Imported != b.N {
				b.Fatalf("got %+v, %v", summary, err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
			b.ReportMetric(float64(most-before)/(1<<20), "MiB")
		})
	}
}
