package gatewaytest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
)

// A test must know a server's address before the server listens on it. So that no other
// test takes the port in the meantime, each test process owns a block of ports: it
// listens on the first one, which keeps other test processes out of the block, and hands
// out the others. All of them are below the ports that the kernel chooses from.
const (
	firstPort   = 20_000
	kernelsPort = 32_768
	blockSize   = 128
)

var ports struct {
	mu   sync.Mutex
	lock net.Listener // on the first port of this process's block
	free []int        // least recently used first
}

// Address returns a loopback address that no other test uses until this one has ended.
func Address(t testing.TB) string {
	t.Helper()
	port, err := takePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { returnPort(port) })
	return loopback(port)
}

func takePort() (int, error) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.lock == nil {
		if err := lockBlock(); err != nil {
			return 0, err
		}
	}
	for i, port := range ports.free {
		if unused(port) {
			ports.free = append(ports.free[:i:i], ports.free[i+1:]...)
			return port, nil
		}
	}
	return 0, fmt.Errorf("all %d ports of this process are in use", blockSize-1)
}

func returnPort(port int) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	ports.free = append(ports.free, port)
}

// lockBlock takes a block that no other test process owns.
func lockBlock() error {
	const blocks = (kernelsPort - firstPort) / blockSize
	for i := range blocks {
		first := firstPort + (os.Getpid()+i)%blocks*blockSize
		lock, err := net.Listen("tcp", loopback(first))
		if err != nil {
			continue
		}
		ports.lock = lock
		for port := first + 1; port < first+blockSize; port++ {
			ports.free = append(ports.free, port)
		}
		return nil
	}
	return errors.New("no block of ports is free")
}

// unused reports whether a server could listen on the port. A program outside the tests
// may already do so.
func unused(port int) bool {
	tcp, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	return udp.Close() == nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
