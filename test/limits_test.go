package test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

const tooMany = `{"error":"Too Many Requests."}`

// attempt is a request and when it was made. The gateway judged it at some
// instant between the two.
type attempt struct {
	sent, answered time.Time
	got            gatewaytest.Answer
}

// TestLimits_window sends far more than a limit allows, over all versions of
// HTTP at once, and holds both sides of the promise: no window has more passes
// than N, and nobody is refused before N have passed.
func TestLimits_window(t *testing.T) {
	t.Parallel()
	const window = 2 * time.Second
	s := startRaced(t, withOptions("rate_limit read 5 2s", "rate_limit write 3 2s"))
	for _, test := range []struct {
		action, method string
		n              int
	}{{"read", "GET", 5}, {"write", "POST", 3}} {
		t.Run(test.action, func(t *testing.T) {
			t.Parallel()
			_, token := s.Create("acme", "Hasty client that "+test.action+"s", "full_access")
			attempts := hammer(t, s, test.method, token, 3*test.n+1)
			passes := wantWindows(t, attempts, test.n, window)
			refused := 0
			for _, a := range attempts {
				if a.got.Status == 200 {
					continue
				}
				refused++
				wantTooMany(t, a.got, test.action, test.n)
				before := 0
				for _, p := range passes {
					if p.sent.Before(a.answered) && p.answered.Add(window).After(a.sent) {
						before++
					}
				}
				if before < test.n {
					t.Errorf("got a refusal after %d passes in the window, want %d before it", before, test.n)
				}
			}
			t.Logf("%d passed, %d were refused", len(passes), refused)
			if refused == 0 {
				t.Error("nothing was refused")
			}
		})
	}
}

// wantWindows checks that no window has more than n passes, and returns all of them.
func wantWindows(t *testing.T, attempts []attempt, n int, window time.Duration) (passes []attempt) {
	t.Helper()
	for _, a := range attempts {
		if a.got.Status == 200 {
			passes = append(passes, a)
		}
	}
	slices.SortFunc(passes, func(a, b attempt) int { return a.answered.Compare(b.answered) })
	for i := range len(passes) - n {
		// Of these, another may have been judged first than was answered first.
		first := slices.MinFunc(passes[i:i+n], func(a, b attempt) int { return a.sent.Compare(b.sent) })
		if spread := passes[i+n].answered.Sub(first.sent); spread < window {
			t.Errorf("got %d passes within %s, want at most %d in %s", n+1, spread, n, window)
		}
	}
	return passes
}

// hammer sends requests over all versions of HTTP until so many have passed.
func hammer(t *testing.T, s *server, method, token string, passes int) []attempt {
	t.Helper()
	var (
		mu       sync.Mutex
		attempts []attempt
		passed   int
		workers  sync.WaitGroup
	)
	deadline := time.Now().Add(time.Minute)
	for _, c := range s.Clients(t) {
		workers.Go(func() {
			pace := time.NewTicker(3 * time.Millisecond)
			defer pace.Stop()
			for ; time.Now().Before(deadline); <-pace.C {
				a := attempt{sent: time.Now(), got: c.Send(t, method, contacts, nil, bearer(token)...)}
				a.answered = time.Now()
				mu.Lock()
				attempts = append(attempts, a)
				if a.got.Status == 200 {
					passed++
				}
				done := passed >= passes
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	workers.Wait()
	if passed < passes {
		t.Fatalf("%d requests passed within a minute, want %d", passed, passes)
	}
	return attempts
}

// wantTooMany checks a refusal by a limit of two seconds.
func wantTooMany(t *testing.T, got gatewaytest.Answer, action string, n int) {
	t.Helper()
	if got.Status != 429 || got.Body != tooMany {
		t.Fatalf("got %d %q, want 429 %q", got.Status, got.Body, tooMany)
	}
	wantRefusal(t, got, nil)
	if seconds, err := strconv.Atoi(got.Header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 2 {
		t.Errorf("got Retry-After %q, want 1 or 2", got.Header.Get("Retry-After"))
	}
	if got, want := got.Header.Get("RateLimit-Policy"), fmt.Sprintf(`"%s";q=%d;w=2`, action, n); got != want {
		t.Errorf("got RateLimit-Policy %q, want %q", got, want)
	}
	if got, want := got.Header.Get("RateLimit"), fmt.Sprintf(`"%s";r=0;t=`, action); !strings.HasPrefix(got, want) {
		t.Errorf("got RateLimit %q, want %q and a number", got, want)
	}
	if got := got.Header.Get("WWW-Authenticate"); got != "" {
		t.Errorf("got WWW-Authenticate %q, want none", got)
	}
}

// TestLimits_retryAfter waits for as long as a refusal says: then it passes.
func TestLimits_retryAfter(t *testing.T) {
	t.Parallel()
	s := startRaced(t, withOptions("rate_limit read 2 2s"))
	_, token := s.Create("acme", "Patient client", "read_only")
	c := s.Clients(t)[0]
	for range 3 {
		got := c.Send(t, "GET", contacts, nil, bearer(token)...)
		for got.Status == 200 {
			got = c.Send(t, "GET", contacts, nil, bearer(token)...)
		}
		seconds, err := strconv.Atoi(got.Header.Get("Retry-After"))
		must(t, err)
		<-time.After(time.Duration(seconds) * time.Second)
		if got := c.Send(t, "GET", contacts, nil, bearer(token)...); got.Status != 200 {
			t.Errorf("got status %d after %d s, want 200", got.Status, seconds)
		}
	}
}

// TestLimits_apart verifies what a limit counts: the passes of one key and one action, and
// nothing that was refused.
func TestLimits_apart(t *testing.T) {
	t.Parallel()
	s := startRaced(t, withOptions("rate_limit read 5 1m", "rate_limit write 3 1m"))
	for _, c := range s.Clients(t) {
		t.Run(c.Name, func(t *testing.T) {
			_, token := s.Create("acme", "Full over "+c.Name, "full_access")
			_, other := s.Create("acme", "Other over "+c.Name, "full_access")
			_, readOnly := s.Create("acme", "Reader over "+c.Name, "read_only")
			send := func(method, token string, fields ...string) gatewaytest.Answer {
				return c.Send(t, method, contacts, nil, append(fields, bearer(token)...)...)
			}
			for range 10 { // refused for other reasons
				send("POST", readOnly)
				send("TRACE", token)
				send("GET", token, "Sec-Fetch-Site", "same-origin")
				send("POST", token, "Early-Data", "1")
			}
			s.Upstream.Take()
			for i, method := range []string{"POST", "GET", "GET", "DELETE", "HEAD", "PUT", "OPTIONS", "GET"} {
				if got := send(method, token); got.Status != 200 {
					t.Errorf("got status %d for request %d, a %s, want 200", got.Status, i+1, method)
				}
			}
			s.Upstream.Take()
			for _, method := range []string{"GET", "POST", "GET", "PATCH"} {
				if got := send(method, token); got.Status != 429 {
					t.Errorf("got status %d for one more %s, want 429", got.Status, method)
				}
			}
			s.wantNothing(t)
			for want := 4; want >= 0; want-- {
				got := send("GET", readOnly)
				if prefix := fmt.Sprintf(`"read";r=%d;t=`, want); got.Status != 200 || !strings.HasPrefix(got.Header.Get("RateLimit"), prefix) {
					t.Errorf("got %d with RateLimit %q, want 200 with %q", got.Status, got.Header.Get("RateLimit"), prefix)
				}
				if got, want := got.Header.Get("RateLimit-Policy"), `"read";q=5;w=60`; got != want {
					t.Errorf("got RateLimit-Policy %q, want %q", got, want)
				}
			}
			if got := send("POST", other); got.Status != 200 || !strings.HasPrefix(got.Header.Get("RateLimit"), `"write";r=2;t=`) {
				t.Errorf("got %d with RateLimit %q for another key's write, want 200 and 2 left", got.Status, got.Header.Get("RateLimit"))
			}
		})
	}
}

// TestLimits_reload verifies that a reload forgives nothing: a limit goes by what has
// passed it already, even after it was away for a while. Another limit has a count of its
// own.
func TestLimits_reload(t *testing.T) {
	t.Parallel()
	config := func(n int) string { return withOptions(fmt.Sprintf("rate_limit read %d 10m", n)) }
	s := startRaced(t, config(3))
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	send := func() int { return s.Clients(t)[0].Send(t, "GET", contacts, nil, bearer(token)...).Status }
	for _, step := range []struct {
		name string
		n    int
		want []int
	}{
		{"at first", 3, []int{200, 200}},
		{"the same again", 3, []int{200, 429, 429}},
		{"raised", 4, []int{200, 200, 200, 200, 429}},
		{"lowered", 2, []int{200, 200, 429}},
		{"as at first", 3, []int{429}},
	} {
		if out, err := s.Reload(config(step.n)); err != nil {
			t.Fatalf("%s: %v\n%s", step.name, err, out)
		}
		for i, want := range step.want {
			if got := send(); got != want {
				t.Errorf("%s: got status %d for request %d, want %d", step.name, got, i+1, want)
			}
		}
	}
}

// TestLimits_blocks verifies which blocks share a count: those with the same limit, however
// it is written. Others do not, and what one refuses counts in none.
func TestLimits_blocks(t *testing.T) {
	t.Parallel()
	s := startRaced(t, strings.Replace(gatewayConfig, "api_key_auth", `api_key_auth /contacts {
		rate_limit read 10 20m
	}
	api_key_auth /orders {
		rate_limit read 10 1200s
	}
	api_key_auth /search {
		rate_limit read 3 20m
	}
	api_key_auth /free`, 1))
	for _, c := range s.Clients(t) {
		t.Run(c.Name, func(t *testing.T) {
			_, token := s.Create("acme", "Client over "+c.Name, "full_access")
			send := func(path string, times, want int, left string) {
				t.Helper()
				for i := range times {
					got := c.Send(t, "GET", path, nil, bearer(token)...)
					if got.Status != want {
						t.Errorf("got status %d for GET %d of %s, want %d", got.Status, i+1, path, want)
					}
					if prefix := `"read";r=` + left + ";"; left != "" && !strings.HasPrefix(got.Header.Get("RateLimit"), prefix) {
						t.Errorf("got RateLimit %q for GET %d of %s, want %q", got.Header.Get("RateLimit"), i+1, path, prefix)
					}
				}
			}
			send("/contacts", 5, 200, "")
			send("/search", 1, 200, "2")
			send("/orders", 1, 200, "4")
			send("/search", 2, 200, "")
			send("/search", 4, 429, "0")
			send("/free", 20, 200, "")
			send("/contacts", 1, 200, "3")
			send("/orders", 3, 200, "")
			send("/contacts", 1, 429, "0")
			send("/orders", 1, 429, "0")
		})
	}
}

// TestLimits_workspace verifies that all keys of a workspace share a limit in addition to
// their own, however many keys there are, and that a request which one of the two refuses
// counts in neither.
func TestLimits_workspace(t *testing.T) {
	t.Parallel()
	s := startRaced(t, withOptions("rate_limit read 3 10m", "rate_limit write 2 10m", "rate_limit workspace 6 10m", "whoami /me"))
	for _, c := range s.Clients(t) {
		t.Run(c.Name, func(t *testing.T) {
			ws := "ws-" + strings.ToLower(strings.ReplaceAll(c.Name, "/", "-"))
			_, first := s.Create(ws, "Warehouse sync", "full_access")
			_, second := s.Create(ws, "Zapier production", "full_access")
			_, neighbour := s.Create(ws+"-2", "Warehouse sync", "full_access")
			third := ""
			for i, step := range []struct {
				method, path string
				token        *string
				status       int
				own, all     string // what is left by each limit
			}{
				{"GET", contacts, &first, 200, `"read";r=2`, `"workspace";r=5`},
				{"GET", "/me", &first, 200, `"read";r=1`, `"workspace";r=4`},
				{"GET", contacts, &first, 200, `"read";r=0`, `"workspace";r=3`},
				{"GET", contacts, &first, 429, `"read";r=0`, `"workspace";r=3`}, // not counted for the workspace
				{"POST", contacts, &first, 200, `"write";r=1`, `"workspace";r=2`},
				{"GET", contacts, &second, 200, `"read";r=2`, `"workspace";r=1`},
				{"GET", contacts, &third, 200, `"read";r=2`, `"workspace";r=0`},
				{"GET", contacts, &second, 429, `"read";r=2`, `"workspace";r=0`}, // not counted for the key
				{"POST", contacts, &third, 429, `"write";r=2`, `"workspace";r=0`},
				{"GET", contacts, &neighbour, 200, `"read";r=2`, `"workspace";r=5`},
			} {
				if step.token == &third && third == "" {
					_, third = s.Create(ws, "Finance export job", "full_access")
				}
				got := c.Send(t, step.method, step.path, nil, bearer(*step.token)...)
				if got.Status != step.status {
					t.Errorf("request %d: got status %d, want %d", i+1, got.Status, step.status)
				}
				own, all, _ := strings.Cut(got.Header.Get("RateLimit"), ", ")
				if !strings.HasPrefix(own, step.own+";t=") || !strings.HasPrefix(all, step.all+";t=") {
					t.Errorf("request %d: got RateLimit %q, want %s and %s", i+1, got.Header.Get("RateLimit"), step.own, step.all)
				}
				action, n := "read", 3
				if step.method == "POST" {
					action, n = "write", 2
				}
				want := fmt.Sprintf(`"%s";q=%d;w=600, "workspace";q=6;w=600`, action, n)
				if got := got.Header.Get("RateLimit-Policy"); got != want {
					t.Errorf("request %d: got RateLimit-Policy %q, want %q", i+1, got, want)
				}
				if retry := got.Header.Get("Retry-After"); (retry != "") != (step.status == 429) {
					t.Errorf("request %d: got Retry-After %q", i+1, retry)
				}
			}
		})
	}
}

// TestLimits_workspaceWindow sends far more than a workspace's limit allows, with several
// keys over all versions of HTTP at once.
func TestLimits_workspaceWindow(t *testing.T) {
	t.Parallel()
	const n, window = 5, 2 * time.Second
	s := startRaced(t, withOptions("rate_limit read 4 2s", "rate_limit workspace 5 2s"))
	var attempts []attempt
	var mu sync.Mutex
	var clients sync.WaitGroup
	for i := range 3 {
		_, token := s.Create("acme", fmt.Sprintf("Hasty client %d of three", i), "full_access")
		clients.Go(func() {
			some := hammer(t, s, "GET", token, 3)
			mu.Lock()
			defer mu.Unlock()
			attempts = append(attempts, some...)
		})
	}
	clients.Wait()
	wantWindows(t, attempts, n, window)
}
