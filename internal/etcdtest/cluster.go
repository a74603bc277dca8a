package etcdtest

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// Cluster is a cluster of etcd. Its methods fail the test that started it if they cannot
// do what they say; they are not for concurrent use.
type Cluster struct {
	t       testing.TB
	program string
	token   string // a part of the identity of cluster and members
	members []*Member
	flags   []string
	users   []User
	secure  bool
	http    *http.Client

	usersRequired bool

	// Prefix is where a test keeps its data.
	Prefix string
	// Files are what clients need for TLS, if the cluster was started with it.
	Files
}

// Start starts a cluster, and waits until all members are healthy.
func Start(t testing.TB, members int, options ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t, program: program(t, "server"), token: "first", flags: []string{"--unsafe-no-fsync"}, Prefix: "/api-keys/"}
	for _, option := range options {
		option(c)
	}
	c.start(members)
	return c
}

// Old starts a cluster with one member of the version in Debian 12, which is older than
// what the gateway accepts. It ends the test if that version is not installed.
func Old(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t, program: testenv.Tool(t, "etcd"), token: "first", flags: []string{"--logger=zap"}, Prefix: "/api-keys/"}
	c.start(1)
	return c
}

func (c *Cluster) start(members int) {
	c.t.Helper()
	dir := c.t.TempDir()
	if c.secure {
		c.Files = writeCertificates(c.t, dir)
	}
	transport := &http.Transport{TLSClientConfig: c.ClientTLS(), DisableKeepAlives: true}
	c.http = &http.Client{Transport: transport, Timeout: 2 * time.Second}
	for i := range members {
		name := fmt.Sprintf("member%d", i)
		c.members = append(c.members, &Member{
			c: c, name: name, data: filepath.Join(dir, name), state: "new",
			client: gatewaytest.Address(c.t), peer: gatewaytest.Address(c.t),
		})
	}
	c.t.Cleanup(c.end)
	c.startAll()
	if len(c.users) > 0 {
		c.requireUsers()
	}
}

func (c *Cluster) startAll() {
	c.t.Helper()
	for _, m := range c.members {
		m.Start()
	}
	c.AwaitHealthy()
}

func (c *Cluster) killAll() {
	for _, m := range c.members {
		m.Kill()
	}
}

func (c *Cluster) end() {
	c.killAll()
	for _, m := range c.members {
		if c.t.Failed() {
			c.t.Logf("warnings and errors of etcd's %s:\n%s", m.name, m.log.Troubles())
		}
	}
}

// AwaitHealthy waits until all members that run are healthy: each can read from the
// cluster's leader.
func (c *Cluster) AwaitHealthy() {
	c.t.Helper()
	for _, m := range c.running() {
		m.AwaitHealthy()
	}
}

// Member returns a member by its number, from 0.
func (c *Cluster) Member(i int) *Member { return c.members[i] }

// Endpoints returns the URLs at which clients reach the members, in their order.
func (c *Cluster) Endpoints() []string { return endpoints(c.members) }

func endpoints(members []*Member) []string {
	var all []string
	for _, m := range members {
		all = append(all, m.Endpoint())
	}
	return all
}

// running returns the members that can answer.
func (c *Cluster) running() []*Member {
	var running []*Member
	for _, m := range c.members {
		if m.runs() {
			running = append(running, m)
		}
	}
	return running
}

// Leader waits until a member that runs is the leader, and returns its number.
func (c *Cluster) Leader() int {
	c.t.Helper()
	leader := -1
	gatewaytest.Await(c.t, "a leader of etcd", func() bool {
		leader = slices.IndexFunc(c.members, func(m *Member) bool { return m.runs() && m.leads() })
		return leader >= 0
	})
	return leader
}

// initialCluster is the members as etcd's flags have them.
func (c *Cluster) initialCluster() string {
	var all []string
	for _, m := range c.members {
		all = append(all, m.name+"=http://"+m.peer)
	}
	return strings.Join(all, ",")
}
