package etcdtest

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// Member is a member of a cluster: a process, unless it has been killed.
type Member struct {
	c            *Cluster
	name, data   string
	client, peer string // addresses
	state        string // of the cluster when the member joins it: new or existing
	log          gatewaytest.Log

	process *exec.Cmd // nil unless it runs
	exited  chan struct{}
	paused  bool
}

// Address returns the address at which clients reach the member.
func (m *Member) Address() string { return m.client }

// Endpoint returns Address as a URL.
func (m *Member) Endpoint() string { return m.c.scheme() + m.client }

// Start starts the member, with the data it has, and waits until it answers other members.
// Whether it becomes healthy may depend on those.
func (m *Member) Start() {
	m.c.t.Helper()
	if m.process != nil {
		m.c.t.Fatalf("etcd's %s runs already", m.name)
	}
	cmd := m.command()
	if err := cmd.Start(); err != nil {
		m.c.t.Fatalf("starting etcd: %v", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	m.process, m.exited, m.paused = cmd, exited, false
	m.await("to answer other members", func() bool { return m.get("http://"+m.peer+"/members") != "" })
}

func (m *Member) command() *exec.Cmd {
	endpoint, peer := m.Endpoint(), "http://"+m.peer
	flags := []string{
		"--name=" + m.name, "--data-dir=" + m.data,
		"--listen-client-urls=" + endpoint, "--advertise-client-urls=" + endpoint,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=" + m.c.initialCluster(),
		"--initial-cluster-token=" + m.c.token, "--initial-cluster-state=" + m.state,
		"--strict-reconfig-check=false", // allows a member to be replaced soon after a start
		"--bcrypt-cost=4",               // the lowest
	}
	cmd := exec.Command(m.c.program, slices.Concat(flags, m.c.serverFlags(), m.c.flags)...)
	cmd.Env = []string{} // etcd takes flags from variables, too
	cmd.Stdout, cmd.Stderr = &m.log, &m.log
	cmd.SysProcAttr = notOrphaned()
	return cmd
}

// Kill kills the member, if it runs, and waits until it has exited. It keeps its data.
func (m *Member) Kill() {
	if m.process == nil {
		return
	}
	_ = m.process.Process.Kill()
	<-m.exited
	m.process, m.paused = nil, false
}

// Pause stops the member's process until Resume: it keeps its connections, and does
// nothing.
func (m *Member) Pause() {
	m.c.t.Helper()
	m.signal(syscall.SIGSTOP)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(m.process.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		m.c.t.Fatalf("etcd's %s did not stop (%v):\n%s", m.name, err, m.log.Tail(4000))
	}
	m.paused = true
}

// Resume resumes a paused member.
func (m *Member) Resume() {
	m.c.t.Helper()
	m.signal(syscall.SIGCONT)
	m.paused = false
}

func (m *Member) signal(signal syscall.Signal) {
	m.c.t.Helper()
	if m.process == nil {
		m.c.t.Fatalf("etcd's %s does not run", m.name)
	}
	if err := m.process.Process.Signal(signal); err != nil {
		m.c.t.Fatalf("sending etcd's %s the signal %s: %v", m.name, signal, err)
	}
}

// Replace kills the member, if it runs, removes it from the cluster, adds another one at
// its addresses and without data, starts that, and waits until it is healthy. The other
// members must be able to elect a leader without it.
func (m *Member) Replace() {
	c := m.c
	c.t.Helper()
	m.Kill()
	c.Leader()
	c.Ctl(c.t, "member", "remove", c.memberID(m.name))
	c.Ctl(c.t, "member", "add", m.name, "--peer-urls=http://"+m.peer)
	if err := os.RemoveAll(m.data); err != nil {
		c.t.Fatal(err)
	}
	m.state = "existing"
	m.Start()
	m.AwaitHealthy()
}

// AwaitHealthy waits until the member can read from the cluster's leader.
func (m *Member) AwaitHealthy() {
	m.c.t.Helper()
	m.await("to be healthy", func() bool {
		return strings.Contains(m.get(m.Endpoint()+"/health"), `"health":"true"`)
	})
}

// await polls until a condition holds, as long as the member runs.
func (m *Member) await(what string, holds func() bool) {
	m.c.t.Helper()
	gatewaytest.Await(m.c.t, "etcd's "+m.name+" "+what, func() bool {
		select {
		case <-m.exited:
			m.c.t.Fatalf("etcd's %s ended:\n%s", m.name, m.log.Tail(4000))
		default:
		}
		return holds()
	})
}

// Version returns the version that the member reports.
func (m *Member) Version() string {
	m.c.t.Helper()
	var version struct{ Etcdserver string }
	if err := json.Unmarshal([]byte(m.get(m.Endpoint()+"/version")), &version); err != nil {
		m.c.t.Fatalf("the version of etcd's %s: %v", m.name, err)
	}
	return version.Etcdserver
}

// runs reports whether the member can answer.
func (m *Member) runs() bool { return m.process != nil && !m.paused }

func (m *Member) leads() bool {
	return strings.Contains(m.get(m.Endpoint()+"/metrics"), "\netcd_server_is_leader 1\n")
}

// get returns the answer to a request to the member, or "" if there is none.
func (m *Member) get(url string) string {
	response, err := m.c.http.Get(url)
	if err != nil {
		return ""
	}
	answer, err := gatewaytest.ReadAnswer(response)
	if err != nil {
		return ""
	}
	return answer.Body
}
