package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// site is what all rivals share: the API behind them, and its keys.
type site struct {
	dir      string
	example  example
	upstream string // its address
	service  string // the address of the key service
	started  []*process
	headers  []http.Header // of a request, one entry per key

	keyService *process
}

// answerSize is the size of the API's answers, in bytes.
const answerSize = 1024

// build is how to build one of the programs.
type build struct {
	program, where, what string
	pgo                  string // the profile to use: auto, a file, or off
	level                string // GOAMD64, the level of processor instructions
}

var builds = []build{
	{program: "gateway", where: "..", what: "./cmd/caddy"},
	{program: "floor", where: ".", what: "./floor", pgo: "../cmd/caddy/default.pgo"},
	{program: "keyservice", where: ".", what: "./keyservice"},
	{program: "stock", where: ".", what: "./stock"},
	{program: "gateway-unprofiled", where: "..", what: "./cmd/caddy", pgo: "off"},
	{program: "gateway-v3", where: "..", what: "./cmd/caddy", level: "v3"},
}

// needed returns the builds that some tables need, or a profile if there are none.
func needed(parts []part) (some []build) {
	programs := map[string]bool{"gateway": len(parts) == 0}
	for _, p := range parts {
		for _, r := range p.rivals {
			programs[r.program] = true
			programs["keyservice"] = programs["keyservice"] || r.service
		}
	}
	for _, b := range builds {
		if programs[b.program] {
			some = append(some, b)
		}
	}
	return some
}

func (b build) run(ctx context.Context, dir string) error {
	fmt.Fprintln(os.Stderr, "building", b.program)
	cmd := exec.CommandContext(ctx, "go", "build", "-pgo="+cmp.Or(b.pgo, "auto"), "-o", filepath.Join(dir, b.program), b.what)
	cmd.Dir, cmd.Stderr = b.where, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOAMD64="+cmp.Or(b.level, "v1"))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w", b.program, err)
	}
	return nil
}

// prepare builds programs, creates the keys, and starts the API.
func prepare(ctx context.Context, dir string, keys int, e example, parts []part) (*site, error) {
	s := &site{dir: dir, example: e}
	programs := needed(parts)
	for _, b := range programs {
		if err := b.run(ctx, dir); err != nil {
			return nil, err
		}
	}
	fmt.Fprintln(os.Stderr, "making", keys, "keys")
	if err := s.makeKeys(ctx, keys); err != nil {
		return nil, err
	}
	if err := s.startCommon(ctx, programs); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// makeKeys writes keys to the gateway's store, and to the files that its rivals read.
func (s *site) makeKeys(ctx context.Context, n int) error {
	path := filepath.Join(s.dir, "keys")
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	keys, err := store.Open(path, zap.NewNop(), nil)
	if err != nil {
		return err
	}
	defer keys.Close()
	var tokens, haproxy, lua strings.Builder
	now := time.Now().Truncate(time.Millisecond)
	for i := range n {
		token := apikey.NewToken("agk")
		key := apikey.Key{
			ID: apikey.NewKeyID(now), WorkspaceID: fmt.Sprintf("ws-%d", i/100), Name: fmt.Sprintf("Key number %d", i),
			Preset: apikey.FullAccess, Digest: token.Digest(), TokenHint: token.Hint(), CreatedAt: now, ExpiresAt: now.Add(90 * 24 * time.Hour),
		}
		change := apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: "bench", Do: apikey.Create{Key: key}}
		if _, err := keys.Apply(ctx, change); err != nil {
			return err
		}
		s.headers = append(s.headers, request("Bearer "+token.Reveal()))
		fmt.Fprintln(&tokens, token.Reveal())
		fmt.Fprintln(&haproxy, token.Reveal(), key.WorkspaceID)
		fmt.Fprintf(&lua, "%s %s\n", token.Reveal(), key.WorkspaceID)
	}
	for name, content := range map[string]string{"tokens": tokens.String(), "haproxy.map": haproxy.String(), "lua.keys": lua.String()} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// request returns the header of a typical request from a customer's server.
func request(authorization string) http.Header {
	return http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip, br"}, "Authorization": {authorization},
		"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, "User-Agent": {"example-client/2.1"},
		"X-Request-Id": {"0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b"},
	}
}

// startCommon starts the API on all cores but the first, and the key service on the first,
// if it was built.
func (s *site) startCommon(ctx context.Context, programs []build) (err error) {
	if s.upstream, err = freeAddress(); err != nil {
		return err
	}
	config := s.write("upstream.conf", fmt.Sprintf(upstreamConfig, s.dir, s.upstream, strings.Repeat("x", answerSize)))
	upstream, err := launch(ctx, rest(), s.upstream, nil, "nginx", "-c", config, "-e", "stderr")
	if err != nil {
		return err
	}
	s.started = append(s.started, upstream)
	if !slices.ContainsFunc(programs, func(b build) bool { return b.program == "keyservice" }) {
		return nil
	}
	if s.service, err = freeAddress(); err != nil {
		return err
	}
	s.keyService, err = launch(ctx, first, s.service, nil,
		filepath.Join(s.dir, "keyservice"), "-listen", s.service, "-tokens", filepath.Join(s.dir, "tokens"))
	if err != nil {
		return err
	}
	s.started = append(s.started, s.keyService)
	return nil
}

// copyKeys gives a gateway a store of its own.
func (s *site) copyKeys(to string) {
	err := os.MkdirAll(to, 0o700)
	if err == nil {
		err = os.CopyFS(to, os.DirFS(filepath.Join(s.dir, "keys")))
	}
	if err != nil {
		panic(err) // in a directory that was just created
	}
}

// write creates a file in the run's directory, and returns its path.
func (s *site) write(name, content string) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		panic(err) // in a directory that was just created
	}
	return path
}

func (s *site) stop() {
	for _, p := range s.started {
		p.stop()
	}
}

const upstreamConfig = `daemon off;
worker_processes 1;
pid %[1]s/upstream.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path %[1]s/upstream-body;
	server {
		listen %[2]s;
		location / { default_type application/json; return 200 "%[3]s"; }
	}
}
`
