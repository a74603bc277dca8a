package etcdtest

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// The connections are those of etcd's clients: HTTP/2 over TLS.
func TestProxy_cutsOffEtcd(t *testing.T) {
	c := Start(t, 1, TLS())
	p := NewProxy(t, c.Member(0).Address())
	endpoints := []string{"https://" + p.Addr()}
	steps := []struct {
		name  string
		do    func()
		fails bool
		want  string // value in etcd
	}{
		{"passes", func() {}, false, "passes"},
		{"stalls", func() { p.Stall() }, true, "passes"},
		{"passes again", p.Pass, false, "passes again"},
		{"drops", p.Drop, true, "passes again"},
		{"passes at last", p.Pass, false, "passes at last"},
		{"passes requests alone", func() { p.Stall(Answers) }, true, "passes at last"},
	}
	for _, s := range steps {
		s.do()
		_, err := c.TryCtl(endpoints, "put", "key", s.name, "--command-timeout=1s")
		if (err != nil) != s.fails {
			t.Errorf("a proxy that %s: got %v, want an error: %t", s.name, err, s.fails)
		}
		if got := value(t, c.Member(0), "key"); got != s.want {
			t.Errorf("after a proxy that %s: got %q, want %q", s.name, got, s.want)
		}
	}
}

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// pair returns both ends of a connection through a proxy.
func pair(t *testing.T) (p *Proxy, client, server net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	p = NewProxy(t, listener.Addr().String())
	if client, err = net.Dial("tcp", p.Addr()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	_ = client.SetDeadline(time.Now().Add(patience))
	_ = server.SetDeadline(time.Now().Add(patience))
	return p, client, server
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// wantRead checks that a text arrives, or nothing for a while if the text is empty.
func wantRead(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	wait := patience
	if want == "" {
		wait = 50 * time.Millisecond
	}
	_ = conn.SetReadDeadline(time.Now().Add(wait))
	got := make([]byte, max(1, len(want)))
	n, err := io.ReadFull(conn, got)
	if string(got[:n]) != want {
		t.Errorf("got %q (%v), want %q", got[:n], err, want)
	}
}

func TestProxy_stallsOneWay(t *testing.T) {
	for _, direction := range []Direction{Requests, Answers} {
		p, client, server := pair(t)
		stalled, other := client, server
		if direction == Answers {
			stalled, other = server, client
		}
		p.Stall(direction)
		write(t, stalled, "held")
		wantRead(t, other, "")
		write(t, other, "passed")
		wantRead(t, stalled, "passed")
		p.Pass()
		wantRead(t, other, "held")
	}
}

func TestProxy_passesEnds(t *testing.T) {
	_, client, server := pair(t)
	write(t, client, "request")
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(server); err != nil || string(got) != "request" {
		t.Errorf("got %q and %v, want %q", got, err, "request")
	}
	write(t, server, "answer")
	server.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Errorf("got %q and %v, want %q", got, err, "answer")
	}
}

func TestProxy_dropsWhatIsStalled(t *testing.T) {
	p, client, server := pair(t)
	p.Stall()
	write(t, client, "held")
	p.Drop()
	for _, conn := range []net.Conn{client, server} {
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %d bytes and %v, want the end of the connection", n, err)
		}
	}
	if conn, err := net.Dial("tcp", p.Addr()); err == nil {
		conn.Close()
		t.Error("a proxy that drops connections accepted one")
	}
}
