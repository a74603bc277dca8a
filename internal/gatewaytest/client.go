package gatewaytest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// Client sends requests to a gateway in one version of HTTP.
type Client struct {
	Name string
	Base string // of URLs, without the path
	*http.Client
}

// Clients returns a client for each version of HTTP.
func (g *Gateway) Clients(t *testing.T) []Client {
	t.Helper()
	h1 := &http.Transport{}
	h2 := &http.Transport{TLSClientConfig: Insecure.Clone(), ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: Insecure.Clone()}
	t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		h3.Close()
	})
	return []Client{
		{"HTTP/1.1", "http://" + g.Plain, &http.Client{Transport: h1, Timeout: 20 * time.Second}},
		{"HTTP/2", "https://" + g.Secure, &http.Client{Transport: h2, Timeout: 20 * time.Second}},
		{"HTTP/3", "https://" + g.Secure, &http.Client{Transport: h3, Timeout: 20 * time.Second}},
	}
}

// Answer is a response that was read to its end.
type Answer struct {
	Status int
	Proto  int
	Header http.Header
	Body   string
	Closes bool // the server closes the connection after it
}

// All returns the header fields and the body.
func (a Answer) All() []byte {
	var all bytes.Buffer
	_ = a.Header.Write(&all)
	all.WriteString(a.Body)
	return all.Bytes()
}

// Send makes a request with the given header fields, name and value in turn.
func (c Client) Send(t *testing.T, method, path string, body io.Reader, fields ...string) Answer {
	t.Helper()
	request, err := http.NewRequest(method, c.Base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		// Not Add, which would tidy up the name.
		request.Header[fields[i]] = append(request.Header[fields[i]], fields[i+1])
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatalf("%s %s over %s: %v", method, path, c.Name, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("reading the answer to %s %s over %s: %v", method, path, c.Name, err)
	}
	return Answer{Status: response.StatusCode, Proto: response.ProtoMajor, Header: response.Header, Body: string(content), Closes: response.Close}
}

// Raw sends bytes that a library might not send, and returns the first answer.
func Raw(t *testing.T, address, request string) Answer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return exchange(t, conn, request)
}

// exchange returns the final answer: a client that hangs up at the interim one
// takes its request back.
func exchange(t *testing.T, conn net.Conn, request string) Answer {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := bytes.Cut([]byte(request), []byte(" "))
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, &http.Request{Method: string(method)})
	for err == nil && response.StatusCode == http.StatusContinue {
		response, err = http.ReadResponse(reader, &http.Request{Method: string(method)})
	}
	if err != nil {
		t.Fatalf("reading the answer to %q: %v", request, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{Status: response.StatusCode, Proto: 1, Header: response.Header, Body: string(content), Closes: response.Close}
}
