package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is the real gateway.
type server struct {
	cmd  *exec.Cmd
	log  strings.Builder
	took time.Duration // until it served
}

// launch starts a gateway, and waits until it serves.
func launch(ctx context.Context, dir, gateway, config string) (*server, error) {
	s := &server{cmd: exec.CommandContext(ctx, gateway, "run", "--adapter", "caddyfile", "--config", config)}
	s.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	begun := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "admin.sock")
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	for ; time.Since(begun) < 10*time.Minute && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		response, err := client.Get("http://localhost/api-keys/healthz")
		if err != nil {
			continue
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			s.took = time.Since(begun)
			return s, nil
		}
	}
	_ = s.stop()
	return nil, fmt.Errorf("the gateway does not serve after ten minutes:\n%s", s.log.String())
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// memory returns how much memory of its own the gateway uses and, with pages of mapped
// files, the most that it has used; see proc_pid_status(5).
func (s *server) memory() (now, peak int, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "RssAnon: %d kB", &now)
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &peak)
	}
	return now << 10, peak << 10, nil
}
