package etcdtest

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// A Direction is one in which bytes pass through a proxy.
type Direction int

// The directions of a proxy.
const (
	Requests Direction = iota // from client to server
	Answers                   // from server to client
)

// Proxy passes the bytes of TCP connections on to a server and back, unchanged, for as
// long as it is not told otherwise. Its methods may be called concurrently.
type Proxy struct {
	t               testing.TB
	address, target string
	serving         sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond // what follows
	listener net.Listener
	conns    map[net.Conn]bool
	stalled  []Direction
	delay    time.Duration // of answers
}

// NewProxy starts a proxy in front of the server at an address. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{t: t, address: gatewaytest.Address(t), target: target, conns: make(map[net.Conn]bool)}
	p.changed = sync.NewCond(&p.mu)
	t.Cleanup(func() {
		p.Drop()
		p.serving.Wait()
	})
	p.Pass()
	return p
}

// Addr returns the address at which the proxy listens.
func (p *Proxy) Addr() string { return p.address }

// Pass passes everything on: what a stalled connection has received, and new connections.
func (p *Proxy) Pass() {
	p.t.Helper()
	p.set(true, nil)
}

// Drop closes all connections and refuses new ones.
func (p *Proxy) Drop() {
	p.t.Helper()
	p.set(false, nil)
}

// Stall keeps connections open and accepts new ones, but passes nothing on in the given
// directions, or in both if none is given.
func (p *Proxy) Stall(directions ...Direction) {
	p.t.Helper()
	if len(directions) == 0 {
		directions = []Direction{Requests, Answers}
	}
	p.set(true, directions)
}

// Delay has answers take longer from now on, each at least that long.
func (p *Proxy) Delay(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

func (p *Proxy) set(listens bool, stalled []Direction) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.changed.Broadcast()
	p.stalled = stalled
	switch {
	case listens && p.listener == nil:
		p.listen()
	case !listens && p.listener != nil:
		p.listener.Close()
		p.listener = nil
		for conn := range p.conns {
			conn.Close()
		}
		clear(p.conns)
	}
}

func (p *Proxy) listen() {
	p.t.Helper()
	var listener net.Listener
	gatewaytest.Await(p.t, "the proxy's port to be free", func() (free bool) {
		var err error
		if listener, err = net.Listen("tcp", p.address); err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			p.t.Fatal(err)
		}
		return err == nil
	})
	p.listener = listener
	p.serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.serving.Go(func() { p.serve(listener, client) })
		}
	})
}

// serve connects a client that came through a listener to the server.
func (p *Proxy) serve(listener net.Listener, client net.Conn) {
	defer client.Close()
	var dialer net.Dialer
	server, err := dialer.DialContext(p.t.Context(), "tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.keep(listener, client, server) {
		return
	}
	defer p.forget(client, server)
	var passing sync.WaitGroup
	passing.Go(func() { p.pass(listener, Requests, client, server) })
	passing.Go(func() { p.pass(listener, Answers, server, client) })
	passing.Wait()
}

// keep remembers connections, so that Drop closes them. It reports false if they came
// through a listener that has been closed.
func (p *Proxy) keep(listener net.Listener, conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != listener {
		return false
	}
	for _, conn := range conns {
		p.conns[conn] = true
	}
	return true
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		delete(p.conns, conn)
	}
}

// pass passes bytes on in one direction, and then the end of the stream.
func (p *Proxy) pass(listener net.Listener, direction Direction, from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, readErr := from.Read(buffer)
		p.awaitFlow(listener, direction)
		_, writeErr := to.Write(buffer[:n])
		switch {
		case readErr == io.EOF && writeErr == nil:
			_ = to.(*net.TCPConn).CloseWrite()
			return
		case readErr != nil || writeErr != nil:
			from.Close()
			to.Close()
			return
		}
	}
}

// awaitFlow waits until the direction is not stalled, or the listener closed, and for the
// delay of an answer.
func (p *Proxy) awaitFlow(listener net.Listener, direction Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.listener == listener && slices.Contains(p.stalled, direction) {
		p.changed.Wait()
	}
	if delay := p.delay; delay > 0 && direction == Answers {
		p.mu.Unlock()
		time.Sleep(delay)
		p.mu.Lock()
	}
}
