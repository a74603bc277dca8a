package caddymodule_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// fuzzListener tracks when the server is done with a connection.
type fuzzListener struct{}

var connections sync.WaitGroup

func init() { caddy.RegisterModule(fuzzListener{}) }

func (fuzzListener) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.fuzz_listener", New: func() caddy.Module { return new(fuzzListener) }}
}

func (fuzzListener) WrapListener(inner net.Listener) net.Listener { return &countingListener{inner} }

type countingListener struct{ net.Listener }

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn}, nil
}

type countedConn struct {
	net.Conn
	closed sync.Once
}

func (c *countedConn) Close() error {
	defer c.closed.Do(connections.Done)
	return c.Conn.Close()
}

// waitForConnections waits until the server is done with all connections.
func waitForConnections(t *testing.T) {
	done := make(chan struct{})
	go func() { connections.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the server is not done with a connection after 20 seconds")
	}
}
