package etcdtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// programs are the paths of those that this process has used.
var programs struct {
	mu    sync.Mutex
	paths map[string]string
}

// program returns the path of a program of the pinned etcd: server, etcdctl or etcdutl.
// It is in the build cache of Go, after a build that may take minutes.
func program(t testing.TB, name string) string {
	t.Helper()
	programs.mu.Lock()
	defer programs.mu.Unlock()
	if path, ok := programs.paths[name]; ok {
		return path
	}
	begun := time.Now()
	path, err := build(filepath.Join(testenv.Root(t), "test", "etcd"), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("building etcd's %s took %s", name, time.Since(begun).Round(time.Millisecond))
	if programs.paths == nil {
		programs.paths = make(map[string]string)
	}
	programs.paths[name] = path
	return path
}

// build builds a tool of the module in dir, unless it has been built before. One process
// builds at a time: packages that are tested in parallel need the same tools.
func build(dir, name string) (string, error) {
	lock, err := os.Open(dir)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking %s: %w", dir, err)
	}
	var trouble strings.Builder
	cmd := exec.Command("go", "-C", dir, "tool", "-n", name)
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	cmd.Stderr = &trouble
	path, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("building etcd's %s: %w\n%s", name, err, trouble.String())
	}
	return strings.TrimSpace(string(path)), nil
}
