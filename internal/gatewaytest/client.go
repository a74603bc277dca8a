package gatewaytest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
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

// Answer is a response that was read completely.
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

// Send sends a request with the given header fields, as alternating names and values.
func (c Client) Send(t *testing.T, method, path string, body io.Reader, fields ...string) Answer {
	t.Helper()
	request, err := http.NewRequest(method, c.Base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		// Not Add, which would canonicalize the name.
		request.Header[fields[i]] = append(request.Header[fields[i]], fields[i+1])
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatalf("%s %s over %s: %v", method, path, c.Name, err)
	}
	got, err := ReadAnswer(response)
	if err != nil {
		t.Fatalf("%s %s over %s: %v", method, path, c.Name, err)
	}
	return got
}

// Raw sends bytes that a library might not send, on a new connection, and returns the
// final answer.
func Raw(t *testing.T, address, request string) Answer {
	t.Helper()
	got, err := TryRaw(address, request)
	if err != nil {
		t.Fatalf("sending %q: %v", request, err)
	}
	return got
}

// TryRaw is like Raw, but returns an error instead of failing the test.
func TryRaw(address, request string) (Answer, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		return Answer{}, err
	}
	method, _, _ := strings.Cut(request, " ")
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, &http.Request{Method: method})
	for err == nil && response.StatusCode == http.StatusContinue {
		response, err = http.ReadResponse(reader, &http.Request{Method: method})
	}
	if err != nil {
		return Answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	return ReadAnswer(response)
}

// ReadAnswer reads a response completely.
func ReadAnswer(response *http.Response) (Answer, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("reading the answer's body: %w", err)
	}
	return Answer{response.StatusCode, response.ProtoMajor, response.Header, string(body), response.Close}, nil
}
