package etcdtest

import (
	"os"
	"os/exec"
)

// Snapshot writes a snapshot of the cluster to a file.
func (c *Cluster) Snapshot(file string) {
	c.t.Helper()
	c.members[c.Leader()].Ctl(c.t, "snapshot", "save", file)
}

// RestoreOptions say how a snapshot is restored.
type RestoreOptions struct {
	// Bump raises the revision by a billion, and marks all before that as compacted,
	// so that watches that have seen later revisions than the snapshot's end. Without
	// it, revisions that clients have seen are given to other changes.
	Bump bool

	// SameToken keeps the identity of the cluster and its members, so that clients
	// cannot tell by it that a snapshot was restored.
	SameToken bool
}

// Restore kills all members, restarts each from a snapshot at its old addresses, and waits
// until all are healthy.
func (c *Cluster) Restore(file string, options RestoreOptions) {
	c.t.Helper()
	c.killAll()
	if !options.SameToken {
		c.token += " restored"
	}
	for _, m := range c.members {
		m.restore(file, options.Bump)
	}
	c.startAll()
}

func (m *Member) restore(file string, bump bool) {
	m.c.t.Helper()
	if err := os.RemoveAll(m.data); err != nil {
		m.c.t.Fatal(err)
	}
	args := []string{
		"snapshot", "restore", file, "--name=" + m.name, "--data-dir=" + m.data,
		"--initial-cluster=" + m.c.initialCluster(), "--initial-cluster-token=" + m.c.token,
		"--initial-advertise-peer-urls=http://" + m.peer,
	}
	if bump {
		args = append(args, "--bump-revision=1000000000", "--mark-compacted")
	}
	if out, err := exec.Command(program(m.c.t, "etcdutl"), args...).CombinedOutput(); err != nil {
		m.c.t.Fatalf("restoring etcd's %s: %v\n%s", m.name, err, out)
	}
}
