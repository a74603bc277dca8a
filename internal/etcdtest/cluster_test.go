package etcdtest

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// value returns the value of a key, as a member has it.
func value(t *testing.T, m *Member, key string) string {
	t.Helper()
	return strings.TrimSuffix(m.Ctl(t, "get", key, "--print-value-only"), "\n")
}

func TestCluster_losesItsLeader(t *testing.T) {
	c := Start(t, 3)
	c.Member(0).Ctl(t, "put", "key", "before")
	if got := value(t, c.Member(1), "key"); got != "before" {
		t.Errorf("another member: got %q, want %q", got, "before")
	}

	first := c.Leader()
	c.Member(first).Kill()
	second := c.Leader()
	if second == first {
		t.Fatalf("member %d is the leader, but was killed", first)
	}
	c.Ctl(t, "put", "key", "after")
	c.Member(first).Start()
	c.AwaitHealthy()
	if got := value(t, c.Member(first), "key"); got != "after" {
		t.Errorf("the member that was killed: got %q, want %q", got, "after")
	}

	c.Member(second).Pause()
	if third := c.Leader(); third == second {
		t.Errorf("member %d is the leader, but is paused", second)
	}
	c.Ctl(t, "put", "key", "at last")
	c.Member(second).Resume()
	c.AwaitHealthy()

	c.Member(first).Replace()
	if got := value(t, c.Member(first), "key"); got != "at last" {
		t.Errorf("the member that was replaced: got %q, want %q", got, "at last")
	}
}

func TestCluster_restored(t *testing.T) {
	tests := []struct {
		name        string
		options     RestoreOptions
		sameCluster bool
		later       bool // the revision is later than all before
	}{
		{"as in the documentation of etcd", RestoreOptions{Bump: true}, false, true},
		{"unnoticed", RestoreOptions{SameToken: true}, true, false},
	}
	c := Start(t, 3)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "snapshot")
			c.Ctl(t, "put", "key", "saved")
			c.Snapshot(file)
			c.Ctl(t, "put", "key", "lost")
			before := c.header()
			c.Restore(file, tt.options)
			for i := range 3 {
				if got := value(t, c.Member(i), "key"); got != "saved" {
					t.Errorf("member %d: got %q, want %q", i, got, "saved")
				}
			}
			after := c.header()
			if got := after.Cluster == before.Cluster; got != tt.sameCluster {
				t.Errorf("the same cluster: got %t, want %t", got, tt.sameCluster)
			}
			if got := after.Revision > before.Revision; got != tt.later {
				t.Errorf("a later revision: got %t, want %t", got, tt.later)
			}
		})
	}
}

func TestCluster_compacted(t *testing.T) {
	c := Start(t, 1)
	c.Ctl(t, "put", "key", "value")
	before := c.Revision()
	c.Ctl(t, "put", "key", "value")
	c.Compact()
	_, err := c.TryCtl(c.Endpoints(), "get", "key", "--rev", strconv.FormatInt(before, 10))
	if want := "required revision has been compacted"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestCluster_tlsAndUsers(t *testing.T) {
	c := Start(t, 1, TLS(), Users(User{Name: "gateway", Password: "secret", Prefix: "/keys/"}))
	c.Ctl(t, "put", "/keys/a", "by root")
	gateway := []string{"--user=gateway", "--password=secret"}
	for _, tt := range []struct {
		args  []string
		error string
	}{
		{append(gateway, "put", "/keys/a", "by gateway"), ""},
		{append(gateway, "put", "/other/a", "by gateway"), "permission denied"},
		{[]string{"--user=gateway", "--password=wrong", "get", "/keys/a"}, "invalid user ID or password"},
		{[]string{"--user=", "--password=", "get", "/keys/a"}, "permission denied"},
	} {
		_, err := c.TryCtl(c.Endpoints(), tt.args...)
		if (err == nil) != (tt.error == "") || err != nil && !strings.Contains(err.Error(), tt.error) {
			t.Errorf("%q: got %v, want %q", tt.args, err, tt.error)
		}
	}
	if got := value(t, c.Member(0), "/keys/a"); got != "by gateway" {
		t.Errorf("got %q, want %q", got, "by gateway")
	}

	stranger := c.ClientTLS()
	stranger.Certificates = nil
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: stranger}}
	_, err := client.Get(c.Endpoints()[0] + "/health")
	if want := "certificate required"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("without a certificate: got %v, want %q", err, want)
	}
}

func TestOld(t *testing.T) {
	c := Old(t)
	c.Ctl(t, "put", "key", "value")
	if got := c.Member(0).Version(); !regexp.MustCompile(`^3\.[45]\.`).MatchString(got) {
		t.Errorf("got version %s, want 3.4 or 3.5", got)
	}
}
