package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// promised is how soon nothing flows any more once a key has ended.
const promised = time.Second

// pace is how often a busy flow moves a piece.
const pace = 20 * time.Millisecond

// ending is a way in which a key ends.
type ending struct {
	name   string
	result string // in the access log
	status int    // of what has not been answered yet
	// make makes a key, and end ends it: it returns when that is.
	make func(t *testing.T, s *server, ws, name string) (client.Key, string)
	end  func(t *testing.T, s *server, key client.Key) time.Time
}

var endings = []ending{
	{"revoked", "revoked", 401, full, func(_ *testing.T, s *server, key client.Key) time.Time {
		s.Revoke(key)
		return time.Now()
	}},
	{"expired", "expired", 401, living("2s"), func(_ *testing.T, _ *server, key client.Key) time.Time {
		return key.ExpiresAt
	}},
	{"suspended", "suspended", 403, full, func(_ *testing.T, s *server, key client.Key) time.Time {
		s.Post("/workspaces/" + key.WorkspaceID + "/suspend")
		return time.Now()
	}},
	{"replaced", "revoked", 401, full, func(t *testing.T, s *server, key client.Key) time.Time {
		soon := "700ms"
		rotated, err := s.Keys().RotateKey(t.Context(), key.WorkspaceID, key.ID, client.RotateRequest{RevokeOldIn: &soon})
		if err != nil {
			t.Errorf("rotating %s: %v", key.ID, err)
			return time.Now()
		}
		return *rotated.Replaced.RevokesAt
	}},
}

func full(_ *testing.T, s *server, ws, name string) (client.Key, string) {
	return s.Create(ws, name, "full_access")
}

func living(life string) func(*testing.T, *server, string, string) (client.Key, string) {
	return func(t *testing.T, s *server, ws, name string) (client.Key, string) {
		made, err := s.Keys().CreateKey(t.Context(), ws, client.CreateRequest{Name: name, Preset: "full_access", ExpiresIn: &life})
		must(t, err)
		return made.Key, made.Token
	}
}

// transfer is one way in which something flows.
type transfer struct {
	name   string
	kind   string // the path's beginning
	upload bool
	idle   bool
	length int64 // of an upload; -1 for chunks
}

// smallUpload is a length that is little to have in memory.
const smallUpload = 60 << 10

var transfers = func() (all []transfer) {
	for _, idle := range []bool{false, true} {
		suffix := map[bool]string{true: ", idle"}[idle]
		all = append(all,
			transfer{"upload" + suffix, "upload", true, idle, -1},
			transfer{"upload of a length" + suffix, "long", true, idle, 1 << 40},
			transfer{"upload of a small length" + suffix, "short", true, idle, smallUpload},
			transfer{"events" + suffix, "events", false, idle, 0},
			transfer{"export" + suffix, "export", false, idle, 0})
	}
	return all
}()

// near is this end of a flow.
type near struct {
	status int
	body   string    // of an answer to an upload
	last   time.Time // when a piece of the answer came
	err    error     // why the answer is not complete
	ended  time.Time
}

// flow is a transfer under way, as both sides see it.
type flow struct {
	transfer
	path string
	near <-chan near // gets one once it has ended
	far  *farFlow
}

// begin begins a flow.
func (x transfer) begin(ctx context.Context, upstream *far, c gatewaytest.Client, token, name string) flow {
	path := "/" + x.kind + "/" + name + "/" + c.Name
	if x.idle {
		path += "/idle"
	}
	ended := make(chan near, 1)
	f := flow{x, path, ended, upstream.expect(path)}
	go func() {
		n := x.run(ctx, c, token, path)
		n.ended = time.Now()
		ended <- n
	}()
	return f
}

func (x transfer) run(ctx context.Context, c gatewaytest.Client, token, path string) (n near) {
	method, body := http.MethodGet, io.Reader(nil)
	if x.upload {
		pipe, sender := io.Pipe()
		defer pipe.Close()
		go x.send(ctx, sender)
		method, body = http.MethodPost, pipe
	}
	var request *http.Request
	if request, n.err = http.NewRequestWithContext(ctx, method, c.Base+path, body); n.err != nil {
		return n
	}
	request.ContentLength = x.length
	request.Header.Set("Authorization", "Bearer "+token)
	var response *http.Response
	if response, n.err = c.Do(request); n.err != nil {
		return n
	}
	defer response.Body.Close()
	n.status = response.StatusCode
	if x.upload {
		var content []byte
		content, n.err = io.ReadAll(response.Body)
		n.body = string(content)
		return n
	}
	buffer := make([]byte, 64<<10)
	for n.err == nil {
		var got int
		if got, n.err = response.Body.Read(buffer); got > 0 {
			n.last = time.Now()
		}
	}
	return n
}

// send sends a body: a piece, and more at its pace if it is not idle.
func (x transfer) send(ctx context.Context, to *io.PipeWriter) {
	piece := []byte("0123456789")
	for tick := time.NewTicker(pace); ; <-tick.C {
		if _, err := to.Write(piece); err != nil {
			return
		}
		if x.idle {
			<-ctx.Done()
			_ = to.CloseWithError(ctx.Err())
			return
		}
	}
}

// TestFlows_endWithTheirKey verifies that a request's body and its answer flow no longer
// than their key may be used, whether they are busy or idle, and that neither side takes
// what was cut for complete; and that another key's continue.
func TestFlows_endWithTheirKey(t *testing.T) {
	far := newFar(t)
	s := startRaced(t, strings.Replace(gatewayConfig, "reverse_proxy {{.Upstream}}", "reverse_proxy "+far.Listener.Addr().String(), 1))
	_, bystander := s.Create("initech", "A key that stays active", "full_access")
	stalled := watchStalls(t)
	for i, c := range s.Clients(t) {
		c.Timeout = 0
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var stay []flow
			for _, x := range transfers {
				stay = append(stay, x.begin(ctx, far, c, bystander, "stays"))
			}
			for j, e := range endings {
				t.Run(e.name, func(t *testing.T) {
					key, token := e.make(t, s, fmt.Sprintf("ws-%d-%d", i, j), "Key of many flows")
					var flows []flow
					for _, x := range transfers {
						flows = append(flows, x.begin(ctx, far, c, token, e.name))
					}
					for _, f := range flows {
						<-f.far.begun
					}
					allowed := stalled.allow(promised)
					end := e.end(t, s, key)
					for _, f := range flows {
						t.Run(f.name, func(t *testing.T) { f.wantCut(t, s, e, end, allowed) })
					}
				})
			}
			for _, f := range stay {
				select {
				case n := <-f.near:
					t.Errorf("got the end of another key's %s (%d %v), want it to continue", f.name, n.status, n.err)
				default:
				}
			}
		})
	}
}

// wantCut waits for the end of a flow whose key ends, and checks what both sides
// see of it, and that it took no longer than it may.
func (f flow) wantCut(t *testing.T, s *server, e ending, end time.Time, allowed func() time.Duration) {
	t.Helper()
	var n near
	select {
	case n = <-f.near:
	case <-time.After(time.Until(end) + 20*time.Second):
		t.Fatal("got a flow that continues 20 s after its key ended")
	}
	select {
	case <-f.far.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the upstream is still waiting 20 s after the key ended")
	}
	most := allowed()
	if late := n.ended.Sub(end); late > most {
		t.Errorf("it ended %v after the key, want %v at most", late, most)
	}
	if late := n.last.Sub(end); late > most {
		t.Errorf("a piece of the answer came %v after the key ended, want %v at most", late, most)
	}
	if late := f.far.last.Sub(end); late > most {
		t.Errorf("a piece of the body came %v after the key ended, want %v at most", late, most)
	}
	switch {
	case f.upload && f.far.err == nil:
		t.Error("the upstream got a complete body, want one that is cut")
	case f.upload && (n.status != e.status || n.err != nil):
		t.Errorf("got status %d %q (%v), want %d", n.status, n.body, n.err, e.status)
	case !f.upload && (n.err == nil || errors.Is(n.err, io.EOF)):
		t.Errorf("got a complete answer (%v), want one that is cut", n.err)
	}
	s.wantLogged(t, f.path, e.result)
}

// wantLogged waits for the line of the access log about a path, and checks its
// result.
func (s *server) wantLogged(t *testing.T, path, result string) {
	t.Helper()
	var line string
	gatewaytest.Await(t, "the line of the access log about "+path, func() bool {
		for l := range strings.Lines(s.Log.String()) {
			if strings.Contains(l, `"logger":"http.log.access`) && strings.Contains(l, `"uri":"`+path+`"`) {
				line = l
			}
		}
		return line != ""
	})
	if !strings.Contains(line, `"api_key_result":"`+result+`"`) {
		t.Errorf("got the line %s, want the result %q", line, result)
	}
}
