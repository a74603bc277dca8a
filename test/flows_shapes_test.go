package test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// flowsConfig serves files, with and without compression around the check, and an
// upstream that gets its bodies whole.
const flowsConfig = `{
	admin {{.Admin}}
	grace_period 5s
	skip_install_trust
	debug
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
}
http://{{.Plain}}, https://{{.Secure}} {
	tls internal
	log
	route /packed/* {
		encode {
			gzip
			match {
				header Content-Type *
			}
		}
		api_key_auth
		file_server {
			root $FILES
		}
	}
	route /plain/* {
		api_key_auth
		file_server {
			root $FILES
		}
	}
	route {
		api_key_auth
		reverse_proxy $FAR {
			request_buffers 10MiB
		}
	}
}
`

// TestFlows_files verifies that a file is cut off like any answer, with its copy in the
// hands of the system or of a handler that compresses it.
func TestFlows_files(t *testing.T) {
	dir := t.TempDir()
	content := make([]byte, 64<<20) // more than lies in the buffers between here and there
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(content)
	for _, name := range []string{"plain", "packed"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name, "export.bin"), content, 0o600))
	}
	s := startRaced(t, strings.NewReplacer("$FILES", dir, "$FAR", "127.0.0.1:1").Replace(flowsConfig))
	for _, c := range s.Clients(t) {
		for _, name := range []string{"plain", "packed"} {
			t.Run(c.Name+"/"+name, func(t *testing.T) {
				key, token := s.Create("acme", "Exports "+name+" over "+c.Name, "read_only")
				request, err := http.NewRequest(http.MethodGet, c.Base+"/"+name+"/export.bin", nil)
				must(t, err)
				request.Header.Set("Authorization", "Bearer "+token)
				request.Header.Set("Accept-Encoding", "gzip")
				response, err := c.Do(request)
				must(t, err)
				defer response.Body.Close()
				if packed := response.Header.Get("Content-Encoding") == "gzip"; response.StatusCode != 200 || packed != (name == "packed") {
					t.Fatalf("got status %d, compressed %t", response.StatusCode, packed)
				}
				_, err = io.CopyN(io.Discard, response.Body, 64<<10)
				must(t, err)
				s.Revoke(key)
				time.Sleep(promised)
				n, err := io.Copy(io.Discard, response.Body)
				if err == nil {
					t.Errorf("got a complete answer of %d bytes, want one that is cut", n)
				}
				if n > int64(len(content))/2 {
					t.Errorf("got %d bytes more a second after the key ended, want no more than was on its way", n)
				}
			})
		}
	}
}

// TestFlows_buffered verifies that what the proxy has gathered of a body is not sent once
// the key has ended.
func TestFlows_buffered(t *testing.T) {
	far := newFar(t)
	s := startRaced(t, strings.NewReplacer("$FILES", t.TempDir(), "$FAR", far.Listener.Addr().String()).Replace(flowsConfig))
	for _, c := range s.Clients(t) {
		for _, x := range transfers {
			if !x.upload || x.length == smallUpload {
				continue
			}
			t.Run(c.Name+"/"+x.name, func(t *testing.T) {
				key, token := s.Create("acme", "Uploads of "+x.name+" over "+c.Name, "full_access")
				f := x.begin(t.Context(), far, c, token, "buffered")
				time.Sleep(200 * time.Millisecond) // some of the body is gathered: nobody says when
				s.Revoke(key)
				if n := <-f.near; n.status != 401 {
					t.Errorf("got status %d (%v), want 401", n.status, n.err)
				}
				s.wantLogged(t, f.path, "revoked")
				select {
				case <-f.far.ended:
					t.Errorf("the upstream got the request (%v), want nothing", f.far.err)
				default:
				}
			})
		}
	}
}

// TestFlows_lateAnswer verifies that an answer which begins after the key has ended is that
// of any request with such a key, with nothing in it of the upstream's.
func TestFlows_lateAnswer(t *testing.T) {
	asked, late := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-late
		w.Header().Set("X-Found", "theirs")
		_, _ = io.WriteString(w, "found")
	}))
	defer upstream.Close()
	s := startRaced(t, strings.Replace(gatewayConfig, "reverse_proxy {{.Upstream}}", "reverse_proxy "+upstream.Listener.Addr().String(), 1))
	for _, c := range s.Clients(t) {
		for _, body := range []string{"", "an order"} {
			t.Run(c.Name+"/"+body, func(t *testing.T) {
				key, token := s.Create("acme", "Polls over "+c.Name+" "+body, "full_access")
				method, answers := http.MethodGet, make(chan gatewaytest.Answer, 1)
				if body != "" {
					method = http.MethodPost
				}
				go func() {
					answers <- c.Send(t, method, contacts, bytes.NewReader([]byte(body)), "Authorization", "Bearer "+token)
				}()
				<-asked
				s.Revoke(key)
				time.Sleep(promised / 2)
				late <- struct{}{}
				got := <-answers
				if got.Status != 401 || got.Body != unauthorized || got.Header.Get("Www-Authenticate") != invalidToken+`, error_description="The token was revoked."` {
					t.Errorf("got %d %s %q, want what a revoked key gets", got.Status, got.Body, got.Header.Get("Www-Authenticate"))
				}
				if found := got.Header.Get("X-Found"); found != "" {
					t.Errorf("got the upstream's header %q, want none", found)
				}
			})
		}
	}
}

// TestFlows_reload verifies that a flow which began before a reload ends with its key too.
func TestFlows_reload(t *testing.T) {
	far := newFar(t)
	config := strings.Replace(httpOnly(gatewayConfig), "reverse_proxy {{.Upstream}}", "reverse_proxy "+far.Listener.Addr().String(), 1)
	s := startRaced(t, config)
	c := s.Clients(t)[0]
	key, token := s.Create("acme", "Events through a reload", "full_access")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var flows []flow
	for _, x := range transfers {
		f := x.begin(ctx, far, c, token, "reload")
		<-f.far.begun
		flows = append(flows, f)
	}
	if out, err := s.Reload(config); err != nil {
		t.Fatalf("reloading: %v\n%s", err, out)
	}
	for _, f := range flows {
		select {
		case n := <-f.near:
			t.Fatalf("%s ended at the reload: %d %v", f.name, n.status, n.err)
		default:
		}
	}
	allowed := watchStalls(t).allow(promised)
	s.Revoke(key)
	end := time.Now()
	for _, f := range flows {
		t.Run(f.name, func(t *testing.T) { f.wantCut(t, s, endings[0], end, allowed) })
	}
}
