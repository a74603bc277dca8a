package etcdtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// Ctl runs etcdctl against all members that run, as Root if the cluster has users, and
// returns what it printed. It fails the test if etcdctl does.
func (c *Cluster) Ctl(t testing.TB, args ...string) string {
	t.Helper()
	return ctl(t, c, c.running(), args)
}

// Ctl is Cluster.Ctl against one member.
func (m *Member) Ctl(t testing.TB, args ...string) string {
	t.Helper()
	return ctl(t, m.c, []*Member{m}, args)
}

func ctl(t testing.TB, c *Cluster, members []*Member, args []string) string {
	t.Helper()
	if len(members) == 0 {
		t.Fatal("no member of etcd runs")
	}
	out, err := c.TryCtl(endpoints(members), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryCtl runs etcdctl against any endpoints, and returns what it printed, or an error that
// says it.
func (c *Cluster) TryCtl(endpoints []string, args ...string) (string, error) {
	c.t.Helper()
	all := []string{"--endpoints=" + strings.Join(endpoints, ",")}
	if c.secure {
		all = append(all, "--cacert="+c.CA, "--cert="+c.Cert, "--key="+c.Key)
	}
	if c.usersRequired {
		all = append(all, "--user="+Root.Name, "--password="+Root.Password)
	}
	cmd := exec.Command(program(c.t, "etcdctl"), append(all, args...)...)
	cmd.Env = []string{} // etcdctl takes flags from variables, too
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("etcdctl %s: %w\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// ctlJSON runs etcdctl, and decodes what it printed.
func (c *Cluster) ctlJSON(into any, args ...string) {
	c.t.Helper()
	out := c.Ctl(c.t, append(args, "--write-out=json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		c.t.Fatalf("etcdctl %s: %v in %q", strings.Join(args, " "), err, out)
	}
}

// header is what every answer of etcd begins with.
type header struct {
	Cluster  uint64 `json:"cluster_id"`
	Revision int64
}

func (c *Cluster) header() header {
	c.t.Helper()
	var answer struct{ Header header }
	c.ctlJSON(&answer, "get", "no key")
	return answer.Header
}

// Revision returns the revision of the last change.
func (c *Cluster) Revision() int64 {
	c.t.Helper()
	return c.header().Revision
}

// Compact forgets all revisions before the last one, waits until every member has done
// so, and returns that one.
func (c *Cluster) Compact() int64 {
	c.t.Helper()
	revision := c.Revision()
	c.Ctl(c.t, "compaction", "--physical", strconv.FormatInt(revision, 10))
	return revision
}

// memberID returns the number of a member, as etcdctl's arguments have it.
func (c *Cluster) memberID(name string) string {
	c.t.Helper()
	var answer struct {
		Members []struct {
			ID   uint64
			Name string
		}
	}
	c.ctlJSON(&answer, "member", "list")
	for _, m := range answer.Members {
		if m.Name == name {
			return strconv.FormatUint(m.ID, 16)
		}
	}
	c.t.Fatalf("etcd has no member %s", name)
	return ""
}

// requireUsers makes the users, and lets nobody else in from now on.
func (c *Cluster) requireUsers() {
	c.t.Helper()
	type object = map[string]any
	for _, user := range c.users {
		c.post("auth/user/add", object{"name": user.Name, "password": user.Password})
		c.post("auth/role/add", object{"name": user.Name})
		if user != Root {
			from, end := []byte(user.Prefix), []byte(user.Prefix)
			end[len(end)-1]++
			c.post("auth/role/grant", object{"name": user.Name, "perm": object{"permType": "READWRITE", "key": from, "range_end": end}})
		}
		c.post("auth/user/grant", object{"user": user.Name, "role": user.Name})
	}
	c.post("auth/enable", object{})
	c.usersRequired = true
}

// post makes a call of etcd's API in JSON, which costs less than a process of etcdctl. It
// cannot once users are required.
func (c *Cluster) post(call string, request any) {
	c.t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := c.http.Post(c.Endpoints()[0]+"/v3/"+call, "application/json", bytes.NewReader(body))
	if err != nil {
		c.t.Fatalf("etcd's %s: %v", call, err)
	}
	if answer, err := gatewaytest.ReadAnswer(response); err != nil || answer.Status != http.StatusOK {
		c.t.Fatalf("etcd's %s: got %d %s, %v", call, answer.Status, answer.Body, err)
	}
}
