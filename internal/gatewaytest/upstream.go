package gatewaytest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"testing"
)

// Upstream is a server behind the gateway that keeps every request exactly as received.
// It parses HTTP/1.1 itself, because a library would normalize what tests want to see.
type Upstream struct {
	Address  string
	mu       sync.Mutex
	received []Received
	fields   string // more fields of its answers, each ended by CR LF
	answer   string // if not empty, sent instead of its usual answer
}

// String returns the address, for configurations.
func (u *Upstream) String() string { return u.Address }

// Received is one request as received.
type Received struct {
	Head    string // request line and header fields, without the empty line
	Body    string
	Trailer string
}

// NewUpstream starts an upstream, which serves until the test ends.
func NewUpstream(t *testing.T) *Upstream {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &Upstream{Address: listener.Addr().String()}
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
func (u *Upstream) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		head, err := ReadHead(reader)
		if err != nil {
			return
		}
		request := Received{Head: head}
		switch {
		case strings.Contains(strings.ToLower(head), "\r\ntransfer-encoding: chunked"):
			request.Body, request.Trailer, err = readChunks(reader)
		default:
			request.Body, err = ReadBody(reader, head)
		}
		if err != nil {
			return
		}
		u.mu.Lock()
		u.received = append(u.received, request)
		extra, whole := u.fields, u.answer
		u.mu.Unlock()
		if upgrade := request.Values("Upgrade"); len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket") {
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

// echo switches protocols, and then sends back everything that it receives.
func echo(conn net.Conn, reader *bufio.Reader) {
	const answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	if _, err := io.WriteString(conn, answer); err == nil {
		_, _ = io.Copy(conn, reader)
	}
}

// ReadHead reads lines up to the empty one.
func ReadHead(reader *bufio.Reader) (string, error) {
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

// ReadBody reads as many bytes as the Content-Length of a head says.
func ReadBody(reader *bufio.Reader, head string) (string, error) {
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
			trailer, err = ReadHead(reader)
			return data.String(), trailer, err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(reader, chunk); err != nil {
			return "", "", err
		}
		data.Write(chunk[:n])
	}
}

// SetFields makes the upstream send these fields, each ended by CR LF, with its
// usual answer.
func (u *Upstream) SetFields(fields string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fields = fields
}

// AnswerWith makes the upstream send these bytes as its answer.
func (u *Upstream) AnswerWith(whole string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer = whole
}

// Take returns the requests received since the last Take.
func (u *Upstream) Take() []Received {
	u.mu.Lock()
	defer u.mu.Unlock()
	received := u.received
	u.received = nil
	return received
}

// Count returns the number of requests received since the last Take.
func (u *Upstream) Count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.received)
}

// WantNothing checks that nothing was received since the last Take.
func (u *Upstream) WantNothing(t *testing.T) {
	t.Helper()
	for _, request := range u.Take() {
		t.Errorf("the upstream received:\n%s", request.Head)
	}
}

// Line returns the request line.
func (r Received) Line() string { return strings.SplitN(r.Head, "\r\n", 2)[0] }

// Fields returns the header fields and trailers, by their names as received.
func (r Received) Fields() http.Header {
	fields := make(http.Header)
	for line := range strings.SplitSeq(r.Head+"\r\n"+r.Trailer, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = append(fields[name], strings.TrimSpace(value))
		}
	}
	return fields
}

// Values returns the values of all fields that an upstream could mistake for the named
// one, in any spelling.
func (r Received) Values(name string) (values []string) {
	fold := strings.NewReplacer("_", "-", ".", "-")
	for line := range strings.SplitSeq(r.Head+"\r\n"+r.Trailer, "\r\n") {
		field, value, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(fold.Replace(field), name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}
