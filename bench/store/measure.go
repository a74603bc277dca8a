package main

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/agiled/caddy-api-keys/bench/dataset"
)

// figures are the measurements of one store.
type figures struct {
	keys         int
	disk         int64 // bytes
	start        time.Duration
	ready, heavy memory // when it is ready, and once its cache is full
	heap         int64  // bytes of live Go heap by which these differ
	operations   operations
}

// starts is how often the gateway is started; the result is the median.
const starts = 5

func measure(ctx context.Context, dir, gateway string, n int) (f figures, err error) {
	keys := filepath.Join(dir, "keys")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return f, err
	}
	defer os.RemoveAll(dir) // the next one needs the space
	d, err := dataset.Make(ctx, keys, n, dataset.PerWorkspace)
	if err != nil {
		return f, err
	}
	f.keys = n
	if f.disk, err = diskUsage(keys); err != nil {
		return f, err
	}
	fmt.Fprintln(os.Stderr, "starting the gateway")
	if err := f.measureServer(ctx, dir, gateway, d); err != nil {
		return f, err
	}
	fmt.Fprintln(os.Stderr, "measuring operations")
	f.operations, err = measureOperations(ctx, keys, d)
	return f, err
}

func diskUsage(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	return bytes, err
}

const (
	endpoint = "127.0.0.1:20190"
	site     = "127.0.0.1:20180"
)

// configure writes the configuration of a gateway.
func configure(dir string) (file string, err error) {
	config := fmt.Sprintf(`{
	admin %s
	persist_config off
	api_keys {
		store badger {
			path %s/keys
		}
	}
}
http://%s {
	api_key_auth {
		whoami /me
	}
	respond 204
}
`, endpoint, dir, site)
	file = filepath.Join(dir, "Caddyfile")
	return file, os.WriteFile(file, []byte(config), 0o600)
}

// startOn starts the gateway on the store in a directory.
func startOn(ctx context.Context, dir, gateway string) (*server, error) {
	file, err := configure(dir)
	if err != nil {
		return nil, err
	}
	return launch(ctx, dir, gateway, file)
}

// measureServer starts the real server and fills its cache.
func (f *figures) measureServer(ctx context.Context, dir, gateway string, d *dataset.Data) error {
	file, err := configure(dir)
	if err != nil {
		return err
	}
	var times []time.Duration
	for i := range starts {
		begin := time.Now()
		server, err := launch(ctx, dir, gateway, file)
		if err != nil {
			return err
		}
		times = append(times, time.Since(begin))
		if i == starts-1 {
			err = f.measureMemory(server, d)
		}
		if err := server.stop(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
	f.start = spreadOf(times).median
	return nil
}

func (f *figures) measureMemory(server *server, d *dataset.Data) (err error) {
	if f.ready, err = server.resident(); err != nil {
		return err
	}
	before, err := liveHeap()
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 10 * time.Second}
	for _, token := range d.Tokens[:min(len(d.Tokens), 100_000)] {
		request, err := http.NewRequest(http.MethodGet, "http://"+site+"/me", nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token.Reveal())
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("a known key: got %s, want 200", response.Status)
		}
	}
	if f.heavy, err = server.resident(); err != nil {
		return err
	}
	f.heap, err = liveHeap()
	f.heap -= before
	return err
}

// server is a running gateway.
type server struct {
	cmd *exec.Cmd
	log strings.Builder
}

// launch starts the gateway and returns once its store answers.
func launch(ctx context.Context, dir, gateway, config string) (*server, error) {
	s := &server{cmd: exec.CommandContext(ctx, gateway, "run", "--adapter", "caddyfile", "--config", config)}
	s.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		response, err := http.Get("http://" + endpoint + "/api-keys/healthz")
		if err != nil {
			continue
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return s, nil
		}
	}
	_ = s.stop()
	return nil, fmt.Errorf("the gateway is not ready after a minute:\n%s", s.log.String())
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// memory is a process's resident memory in bytes: its own, and pages of mapped files,
// which the system can reclaim at any time.
type memory struct{ own, files int }

// resident returns the server's memory; see proc_pid_status(5).
func (s *server) resident() (m memory, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int
		switch {
		case matches(line, "RssAnon: %d kB", &kilobytes):
			m.own = kilobytes << 10
		case matches(line, "RssFile: %d kB", &kilobytes):
			m.files = kilobytes << 10
		}
	}
	return m, nil
}

func matches(line, format string, n *int) bool {
	found, _ := fmt.Sscanf(line, format, n)
	return found == 1
}
