package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// pages serves a page to a browser, and takes its report.
type pages struct {
	address string
	fetches atomic.Pointer[[]byte]
	reports chan []string
}

// fetch is what a page is told to fetch.
type fetch struct {
	URL    string `json:"url"`
	Method string `json:"method"`
	Token  string `json:"token,omitempty"`
}

const pageHTML = `<!doctype html><meta charset=utf-8><title>A page</title><script type=module>
const outcomes = [];
for (const {url, method, token} of %s) {
	try {
		const answer = await fetch(url, {method, headers: token ? {Authorization: "Bearer " + token} : {}});
		outcomes.push(String(answer.status));
	} catch (problem) {
		outcomes.push(problem.name);
	}
}
await fetch("/page/report", {method: "POST", body: JSON.stringify(outcomes)});
</script>`

func newPages(t *testing.T) *pages {
	t.Helper()
	p := &pages{reports: make(chan []string, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, pageHTML, *p.fetches.Load())
	})
	mux.HandleFunc("POST /page/report", func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var outcomes []string
		if err := json.Unmarshal(body, &outcomes); err != nil {
			t.Errorf("the page reported %q: %v", body, err)
		}
		p.reports <- outcomes
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.address = server.Listener.Addr().String()
	return p
}

func (p *pages) port() string { return p.address[strings.LastIndexByte(p.address, ':')+1:] }

// run opens the page of an origin, lets it fetch, and returns what it reports.
func (p *pages) run(t *testing.T, chromium, origin string, fetches []fetch) []string {
	t.Helper()
	list, err := json.Marshal(fetches)
	must(t, err)
	p.fetches.Store(&list)
	// A browser that waits for its debugger stays open when the page is loaded.
	browser := browse(t, chromium, "--remote-debugging-port=0", origin+"/page")
	var said gatewaytest.Log
	browser.Stderr = &said
	must(t, browser.Start())
	defer func() {
		_ = browser.Process.Kill()
		_ = browser.Wait()
	}()
	select {
	case outcomes := <-p.reports:
		if len(outcomes) != len(fetches) {
			t.Fatalf("the page reported %d outcomes, want %d", len(outcomes), len(fetches))
		}
		return outcomes
	case <-time.After(time.Minute):
		t.Fatalf("the page reported nothing for a minute; the browser said:\n%s", said.String())
		return nil
	}
}

// browse returns the command of a browser that nobody has used before.
func browse(t *testing.T, chromium string, args ...string) *exec.Cmd {
	t.Helper()
	profile, err := os.MkdirTemp("", "chromium-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(profile) })
	cmd := exec.CommandContext(t.Context(), chromium, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--ignore-certificate-errors",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir=" + profile,
	}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+profile)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}
