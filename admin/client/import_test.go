package client_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// importer serves an import with a function.
func importer(t *testing.T, serve func(w *bufio.Writer, flush func(), lines *bufio.Scanner)) *client.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		out := bufio.NewWriter(w)
		flush := func() { _ = errors.Join(out.Flush(), control.Flush()) }
		flush()
		serve(out, flush, bufio.NewScanner(r.Body))
		flush()
	}))
	t.Cleanup(server.Close)
	return &client.Client{BaseURL: server.URL, HTTP: server.Client()}
}

// Each line is answered before the next one is written.
func TestClient_importStreams(t *testing.T) {
	c := importer(t, func(w *bufio.Writer, flush func(), lines *bufio.Scanner) {
		n := 0
		for lines.Scan() {
			n++
			fmt.Fprintf(w, `{"line":%d,"key_id":"key_%d","outcome":"imported"}`+"\n", n, n)
			flush()
		}
		fmt.Fprintf(w, `{"imported":%d,"unchanged":0,"refused":0}`+"\n", n)
	})
	const all = 20
	reader, writer := io.Pipe()
	answered := make(chan client.ImportResult)
	go func() {
		encoder := json.NewEncoder(writer)
		for n := range all {
			if err := encoder.Encode(client.ImportLine{WorkspaceID: "acme", Name: fmt.Sprint("Key ", n)}); err != nil {
				t.Error(err)
			}
			if got := <-answered; got.Line != n+1 || got.KeyID != fmt.Sprint("key_", n+1) || got.Outcome != client.LineImported || got.Err != nil {
				t.Errorf("line %d: got %+v", n+1, got)
			}
		}
		writer.Close()
	}()
	summary, err := c.Import(t.Context(), reader, client.ImportOptions{Each: func(r client.ImportResult) error {
		answered <- r
		return nil
	}})
	if want := (client.ImportSummary{Imported: all}); err != nil || summary != want {
		t.Errorf("got %+v, %v, want %+v", summary, err, want)
	}
}

// An import that ends without its summary is an error, which says how far it came.
func TestClient_importCutOff(t *testing.T) {
	const (
		one = `{"line":1,"key_id":"key_1","outcome":"imported"}` + "\n"
		two = `{"line":3,"outcome":"refused","error":"No.","code":"token_taken","field":"token_sha256"}` + "\n"
	)
	for _, test := range []struct {
		title, answer string
		want          client.ImportSummary
		says          string
		is            error
	}{
		{"nothing", "", client.ImportSummary{}, "before the first line was answered", io.ErrUnexpectedEOF},
		{"after some lines", one + two, client.ImportSummary{Imported: 1, Refused: 1}, "after line 3 was answered", io.ErrUnexpectedEOF},
		{"something else", one + `{"hello":1}` + "\n", client.ImportSummary{Imported: 1}, "", client.ErrNotServed},
		{"a half summary", one + `{"imported":1}` + "\n", client.ImportSummary{Imported: 1}, "", client.ErrNotServed},
		{"no JSON", "hello\n", client.ImportSummary{}, "", client.ErrNotServed},
		{"an unknown outcome", `{"line":1,"outcome":"lost"}` + "\n", client.ImportSummary{}, "", client.ErrNotServed},
	} {
		t.Run(test.title, func(t *testing.T) {
			c := importer(t, func(w *bufio.Writer, _ func(), lines *bufio.Scanner) {
				for lines.Scan() {
				}
				_, _ = w.WriteString(test.answer)
			})
			got, err := c.Import(t.Context(), strings.NewReader("{}\n{}\n{}\n"), client.ImportOptions{})
			if got != test.want || !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %+v, %v, want %+v, %v that says %q", got, err, test.want, test.is, test.says)
			}
		})
	}
}

// A source that cannot be read, and a caller that wants no more, end the import, each with
// its own error.
func TestClient_importEnds(t *testing.T) {
	echo := func(w *bufio.Writer, flush func(), lines *bufio.Scanner) {
		for n := 1; lines.Scan(); n++ {
			fmt.Fprintf(w, `{"line":%d,"key_id":"key_1","outcome":"unchanged"}`+"\n", n)
			flush()
		}
	}
	broken := errors.New("the disk is gone")
	answered := make(chan struct{})
	source := io.MultiReader(strings.NewReader("{}\n"), readerFunc(func([]byte) (int, error) {
		<-answered
		return 0, broken
	}))
	got, err := importer(t, echo).Import(t.Context(), source, client.ImportOptions{Each: func(client.ImportResult) error {
		close(answered)
		return nil
	}})
	if want := (client.ImportSummary{Unchanged: 1}); !errors.Is(err, broken) || got != want {
		t.Errorf("a broken source: got %+v, %v, want %+v, %v", got, err, want, broken)
	}
	enough := errors.New("enough")
	reader, writer := io.Pipe()
	defer writer.Close()
	go func() { _, _ = io.WriteString(writer, "{}\n{}\n") }()
	got, err = importer(t, echo).Import(t.Context(), reader, client.ImportOptions{Each: func(client.ImportResult) error { return enough }})
	if want := (client.ImportSummary{Unchanged: 1}); !errors.Is(err, enough) || got != want {
		t.Errorf("a caller that wants no more: got %+v, %v, want %+v, %v", got, err, want, enough)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
