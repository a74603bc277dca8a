package test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
)

// upstream is a server behind the gateway that keeps every request as it came
// over the wire. It speaks HTTP/1.1 by hand, because a library would tidy up
// what it is there to see.
type upstream struct {
	address  string
	mu       sync.Mutex
	received []wire
	fields   string // more fields of its answers, each ended by CR LF
	answer   string // if not empty, what it sends in place of its usual answer
}

// wire is one request as received.
type wire struct {
	head    string // request line and fields, without the empty line
	body    string
	trailer string
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{address: listener.Addr().String()}
	var serving sync.WaitGroup
	conns := make(map[net.Conn]bool)
	var mu sync.Mutex
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			serving.Go(func() {
				defer conn.Close()
				u.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return u
}

// serve answers the requests of one connection.
func (u *upstream) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		head, err := readBlock(reader)
		if err != nil {
			return
		}
		request := wire{head: head}
		switch {
		case strings.Contains(strings.ToLower(head), "\r\ntransfer-encoding: chunked"):
			request.body, request.trailer, err = readChunks(reader)
		default:
			request.body, err = readLength(reader, head)
		}
		if err != nil {
			return
		}
		u.mu.Lock()
		u.received = append(u.received, request)
		extra, whole := u.fields, u.answer
		u.mu.Unlock()
		if upgrade := request.values("Upgrade"); len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket") {
			echo(conn, reader)
			return
		}
		if whole != "" {
			if _, err := io.WriteString(conn, whole); err != nil {
				return
			}
			continue
		}
		answer := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n" + extra + "\r\n"
		if !strings.HasPrefix(head, "HEAD ") {
			answer += "ok"
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

// echo switches to the other protocol, which is to send back what comes in.
func echo(conn net.Conn, reader *bufio.Reader) {
	const answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	if _, err := io.WriteString(conn, answer); err == nil {
		_, _ = io.Copy(conn, reader)
	}
}

// readBlock reads lines up to the empty one.
func readBlock(reader *bufio.Reader) (string, error) {
	var block bytes.Buffer
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == "\r\n" {
			return strings.TrimSuffix(block.String(), "\r\n"), nil
		}
		block.WriteString(line)
	}
}

func readLength(reader *bufio.Reader, head string) (string, error) {
	fields, err := textproto.NewReader(bufio.NewReader(strings.NewReader(head[strings.Index(head, "\r\n")+2:] + "\r\n\r\n"))).ReadMIMEHeader()
	if err != nil {
		return "", err
	}
	n := 0
	for _, c := range fields.Get("Content-Length") {
		n = n*10 + int(c-'0')
	}
	body := make([]byte, n)
	_, err = io.ReadFull(reader, body)
	return string(body), err
}

func readChunks(reader *bufio.Reader) (body, trailer string, err error) {
	var data strings.Builder
	for {
		size, err := reader.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		n := 0
		for _, c := range strings.ToLower(strings.TrimSpace(size)) {
			n = n*16 + strings.IndexRune("0123456789abcdef", c)
		}
		if n == 0 {
			trailer, err = readBlock(reader)
			return data.String(), trailer, err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(reader, chunk); err != nil {
			return "", "", err
		}
		data.Write(chunk[:n])
	}
}

// answers makes the upstream send these bytes as its answer.
func (u *upstream) answers(whole string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer = whole
}

// take returns what was received since the last time.
func (u *upstream) take() []wire {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.received
	u.received = nil
	return taken
}

// values returns the values of all fields that an upstream could take for the
// named one, in whatever spelling they arrived.
func (w wire) values(name string) []string {
	return fieldValues(w.head+"\r\n"+w.trailer, name)
}

func fieldValues(block, name string) []string {
	fold := strings.NewReplacer("_", "-", ".", "-")
	var values []string
	for _, line := range strings.Split(block, "\r\n") {
		field, value, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(fold.Replace(field), name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}
