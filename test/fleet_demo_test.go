package test

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestFleet_demo: make fleet-demo starts a fleet that serves, and leaves nothing behind.
func TestFleet_demo(t *testing.T) {
	t.Parallel()
	var ports []string
	for range 10 {
		_, port, err := net.SplitHostPort(gatewaytest.Address(t))
		must(t, err)
		ports = append(ports, port)
	}
	cmd := exec.Command("../deploy/fleet/demo")
	cmd.Env = append(os.Environ(), "DEMO_PORTS="+strings.Join(ports, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that all of it is interrupted, as by a terminal
	out, err := cmd.StdoutPipe()
	must(t, err)
	var problems gatewaytest.Log
	cmd.Stderr = &problems
	must(t, cmd.Start())
	interrupt := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	t.Cleanup(interrupt)

	var said strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Press Ctrl+C") {
		said.WriteString(lines.Text() + "\n")
	}
	find := func(pattern string) string {
		match := regexp.MustCompile(pattern).FindStringSubmatch(said.String() + lines.Text())
		if match == nil {
			t.Fatalf("the demo did not say %s:\n%s%s", pattern, said.String(), problems.String())
		}
		return match[1]
	}
	token, dir := find(`TOKEN=(\S+)`), find(`Logs are in (\S+)\.`)
	request, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost:"+ports[0]+"/", nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("got status %d from the balancer, want 200", response.StatusCode)
	}

	interrupt()
	for lines.Scan() { // until all of its processes have ended
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the demo ended with %v:\n%s", err, problems.String())
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	for _, port := range ports {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			t.Errorf("something still listens on port %s", port)
		}
	}
}
