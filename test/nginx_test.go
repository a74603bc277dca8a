package test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// nginxConfig has an address for each way to reach the gateway: plain and over TLS,
// with nginx's defaults, with persistent connections, and with unbuffered request
// bodies. Each upstream lists the gateway twice, because nginx never marks the only
// server of an upstream as down.
const nginxConfig = `
daemon off;
master_process off;
pid {{.Dir}}/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path {{.Dir}}/body;
	proxy_temp_path {{.Dir}}/proxy;
	fastcgi_temp_path {{.Dir}}/fastcgi;
	uwsgi_temp_path {{.Dir}}/uwsgi;
	scgi_temp_path {{.Dir}}/scgi;
	client_max_body_size 0;
	{{- range $i, $way := .Ways}}
	upstream gateway{{$i}} {
		server {{$way.Gateway}};
		server {{$way.Gateway}};
		{{$way.Upstream}}
	}
	server {
		listen {{$way.Listen}};
		location / {
			proxy_pass {{$way.Scheme}}://gateway{{$i}};
			proxy_set_header Host {{$way.Gateway}};
			proxy_ssl_server_name on;
			proxy_ssl_name localhost;
			{{$way.Location}}
		}
	}
	{{- end}}
}
`

// nginxWay is one of these addresses.
type nginxWay struct{ Name, Listen, Scheme, Gateway, Upstream, Location string }

// startNginx runs nginx in front of a gateway until the test ends.
func startNginx(t *testing.T, s *server) []nginxWay {
	t.Helper()
	program := testenv.Tool(t, "nginx")
	var ways []nginxWay
	for scheme, gateway := range map[string]string{"http": s.Plain, "https": s.Secure} {
		ways = append(ways,
			nginxWay{scheme + ", defaults", "", scheme, gateway, "", ""},
			nginxWay{scheme + ", kept connections", "", scheme, gateway, "keepalive 8;", `proxy_http_version 1.1; proxy_set_header Connection "";`},
			nginxWay{scheme + ", unbuffered bodies", "", scheme, gateway, "keepalive 8;", `proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;`},
		)
	}
	for i := range ways {
		ways[i].Listen = gatewaytest.Address(t)
	}
	dir := t.TempDir()
	var config bytes.Buffer
	must(t, template.Must(template.New("").Parse(nginxConfig)).Execute(&config, map[string]any{"Dir": dir, "Ways": ways}))
	path := filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(path, config.Bytes(), 0o600))
	nginx := exec.Command(program, "-p", dir, "-c", path, "-e", "stderr")
	var log gatewaytest.Log
	nginx.Stderr = &log
	must(t, nginx.Start())
	t.Cleanup(func() {
		_ = nginx.Process.Signal(syscall.SIGTERM)
		_ = nginx.Wait()
		if t.Failed() {
			t.Logf("nginx:\n%s", log.Tail(4000))
		}
	})
	s.Await("nginx", func() bool {
		response, err := http.Get("http://" + ways[0].Listen)
		if err != nil {
			return false
		}
		return response.Body.Close() == nil
	})
	return ways
}

// TestNginx checks that nginx in front of the gateway passes on the refusal of an upload
// of any size, and never marks the gateway as down because of it: clients with a valid
// key are served alongside those without one.
func TestNginx(t *testing.T) {
	t.Parallel()
	s := startRaced(t, withOptions("rate_limit write 1 1h"))
	refused := refusedUploads(t, s)
	_, good := s.Create("acme", "Warehouse sync", "full_access")
	for _, way := range startNginx(t, s) {
		t.Run(way.Name, func(t *testing.T) {
			// If the answer comes before the end of an unbuffered body, nginx closes the
			// client's connection after it without saying so.
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
			var senders sync.WaitGroup
			for _, r := range refused {
				senders.Go(func() {
					for _, size := range append(uploadSizes, 5_000_000, 5_000_000, 5_000_000) {
						status, body := request(t, client, "POST", way.Listen, r.token, size)
						if status != r.status || body != r.body {
							t.Errorf("%d bytes: got %d %q, want %d %q", size, status, body, r.status, r.body)
						}
						if status, body := request(t, client, "GET", way.Listen, good, 0); status != 200 {
							t.Errorf("got %d %q with a good key after a refusal of %d bytes, want 200", status, body, size)
						}
					}
				})
			}
			senders.Wait()
		})
	}
}

// request sends a request with a body of the given size, and returns the answer.
func request(t *testing.T, client *http.Client, method, address, token string, size int) (status int, body string) {
	sent, err := http.NewRequest(method, "http://"+address+contacts, bytes.NewReader(make([]byte, size)))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	if token != "" {
		sent.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(sent)
	if err != nil {
		t.Errorf("%s with %d bytes: %v", method, size, err)
		return 0, ""
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("reading the answer to %s with %d bytes: %v", method, size, err)
	}
	return response.StatusCode, string(content)
}
