package gatewaytest

import (
	"crypto/tls"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a gateway that runs in its own process.
type Process struct {
	*Gateway
	Program string   // the file of the binary
	Tool    string   // the same for commands other than run and start
	Env     []string // variables of the process, besides the test's own
	Cmd     *exec.Cmd
	Exited  chan struct{}
	Log     Log
	secure  bool // the configuration serves Secure
}

// NewProcess prepares a gateway with the given binary without starting it. Commands that
// serve nothing, such as reload, are those of tool.
func NewProcess(t *testing.T, program, tool string) *Process {
	t.Helper()
	return &Process{Gateway: New(t), Program: program, Tool: tool, Exited: make(chan struct{})}
}

// Run starts the process with a configuration.
func (p *Process) Run(config string) {
	p.T.Helper()
	p.secure = strings.Contains(config, "{{.Secure}}")
	p.Cmd = p.Command("run", "--config", p.Write("Caddyfile", config))
	p.Launch()
}

// Launch starts p.Cmd, which is stopped when the test ends.
func (p *Process) Launch() {
	p.T.Helper()
	p.Cmd.Stdout, p.Cmd.Stderr = &p.Log, &p.Log
	p.Cmd.Env = append(p.Cmd.Env, "GORACE="+os.Getenv("GORACE")+" exitcode=0")
	if err := p.Cmd.Start(); err != nil {
		p.T.Fatalf("starting caddy: %v", err)
	}
	cmd, exited := p.Cmd, p.Exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	p.T.Cleanup(func() {
		if p.Cmd != cmd {
			return // it was stopped, and another one started
		}
		p.Stop()
		for _, report := range races(p.Log.String()) {
			p.T.Errorf("caddy has a data race:\n%s", report)
		}
		if p.T.Failed() {
			p.T.Logf("warnings and errors of caddy:\n%s", p.Log.Troubles())
		}
	})
}

// Stop stops the process as a service manager would, and waits until it has exited.
func (p *Process) Stop() {
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Exited:
	case <-time.After(20 * time.Second):
		_ = p.Cmd.Process.Kill()
		<-p.Exited
		p.T.Error("caddy did not stop within 20 s of SIGTERM")
	}
}

// Command returns a command that runs in the gateway's own directories. It trusts no
// authorities of the system: reading their certificates is a good part of a short run.
func (p *Process) Command(args ...string) *exec.Cmd {
	program := p.Tool
	if args[0] == "run" || args[0] == "start" {
		program = p.Program
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = p.Dir
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+p.Dir+"/data", "XDG_CONFIG_HOME="+p.Dir+"/config", "HOME="+p.Dir,
		"SSL_CERT_FILE=/dev/null", "SSL_CERT_DIR="+p.Dir+"/none")
	cmd.Env = append(cmd.Env, p.Env...)
	return cmd
}

// Reload loads another configuration, and returns what caddy reload printed.
func (p *Process) Reload(config string) (string, error) {
	p.T.Helper()
	out, err := p.Command("reload", "--config", p.Write("Caddyfile", config), "--address", p.Admin, "--force").CombinedOutput()
	return string(out), err
}

// AwaitReady waits until the store answers through the admin endpoint.
func (p *Process) AwaitReady() {
	p.T.Helper()
	p.Await("the server to answer", func() bool {
		select {
		case <-p.Exited:
			p.T.Fatalf("caddy ended:\n%s", p.Log.Tail(6000))
		default:
		}
		return p.Healthy()
	})
	if p.secure {
		p.Await("the certificate", func() bool {
			conn, err := tls.Dial("tcp", p.Secure, Insecure.Clone())
			if err != nil {
				return false
			}
			return conn.Close() == nil
		})
	}
}
