package testenv

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"testing"
)

// The variables that tell a test's binary what to do as a child process.
const (
	roleVariable = "TESTENV_ROLE"
	pathVariable = "TESTENV_PATH"
)

// Opened is the line by which a child says that it has its files open.
const Opened = "open"

// ChildRole returns what this process is to do if a test runs it as a child, and with
// which path. The role is empty in a process that is to run tests. It is for TestMain.
func ChildRole() (role, path string) {
	return os.Getenv(roleVariable), os.Getenv(pathVariable)
}

// ChildEnv returns the environment that gives a child its role. With the race detector,
// a child also ends without the second that it would wait for goroutines to finish.
func ChildEnv(role, path string) []string {
	race := "GORACE=" + os.Getenv("GORACE") + " atexit_sleep_ms=0"
	return append(os.Environ(), roleVariable+"="+role, pathVariable+"="+path, race)
}

// ChildCommand returns a command that runs the test's own binary as a child.
func ChildCommand(ctx context.Context, t testing.TB, role, path string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = ChildEnv(role, path)
	return cmd
}

// Child is the test's own binary in a process that can be killed.
type Child struct {
	*exec.Cmd
	Lines *bufio.Scanner // what it prints after Opened
}

// StartChild starts a child, and waits until it has its files open. The child's input
// stays open, and the child runs, until the test ends.
func StartChild(t testing.TB, role, path string) *Child {
	t.Helper()
	c := &Child{Cmd: ChildCommand(t.Context(), t, role, path)}
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.End)
	c.Lines = bufio.NewScanner(out)
	if !c.Lines.Scan() || c.Lines.Text() != Opened {
		t.Fatalf("the child with the role %q: got %q, want %q", role, c.Lines.Text(), Opened)
	}
	return c
}

// End kills the child, unless it has ended already, and waits for it.
func (c *Child) End() {
	_ = c.Process.Kill()
	_ = c.Wait()
}
