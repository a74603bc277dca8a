package gatewaytest

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// TestAddress_otherProcess checks that two processes which take all the ports they can
// get never get the same one.
func TestAddress_otherProcess(t *testing.T) {
	if os.Getenv("TAKE_ALL_PORTS") != "" {
		for range blockSize - 1 {
			_, _ = io.WriteString(os.Stdout, Address(t)+"\n")
		}
		_, _ = io.Copy(io.Discard, os.Stdin) // until the other process has tried its ports
		return
	}
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAddress_otherProcess$")
	other.Env = append(os.Environ(), "TAKE_ALL_PORTS=1")
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	theirs, lines := make(map[string]bool), bufio.NewScanner(stdout)
	for len(theirs) < blockSize-1 && lines.Scan() {
		theirs[lines.Text()] = true
	}
	if len(theirs) != blockSize-1 {
		t.Errorf("the other process got %d addresses, want %d", len(theirs), blockSize-1)
	}
	for range blockSize - 1 {
		if address := Address(t); theirs[address] {
			t.Errorf("both processes got %s", address)
		}
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
}

// TestAddress_parallel checks that concurrent tests get different addresses, even while
// others end.
func TestAddress_parallel(t *testing.T) {
	var mu sync.Mutex
	used := make(map[string]bool)
	for range 200 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			address := Address(t)
			mu.Lock()
			defer mu.Unlock()
			if used[address] {
				t.Errorf("%s was in use", address)
			}
			used[address] = true
			t.Cleanup(func() {
				mu.Lock()
				defer mu.Unlock()
				delete(used, address)
			})
		})
	}
}

// TestAddress_inUse checks that a port on which another program listens is skipped.
func TestAddress_inUse(t *testing.T) {
	var stranger net.Listener
	t.Run("", func(t *testing.T) {
		var err error
		if stranger, err = net.Listen("tcp", Address(t)); err != nil {
			t.Fatal(err)
		}
	})
	defer stranger.Close()
	for range blockSize - 2 {
		if got := Address(t); got == stranger.Addr().String() {
			t.Errorf("got %s, on which another program listens", got)
		}
	}
}
