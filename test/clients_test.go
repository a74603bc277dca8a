package test

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

// httpClient sends requests to a server in one version of HTTP.
type httpClient struct {
	name string
	base string
	*http.Client
}

// clients returns one client for each version of HTTP.
func clients(t *testing.T, s *server) []httpClient {
	t.Helper()
	h1 := &http.Transport{}
	h2 := &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: insecure.Clone()}
	t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		h3.Close()
	})
	return []httpClient{
		{"HTTP/1.1", "http://" + s.Plain, &http.Client{Transport: h1, Timeout: 20 * time.Second}},
		{"HTTP/2", "https://" + s.Secure, &http.Client{Transport: h2, Timeout: 20 * time.Second}},
		{"HTTP/3", "https://" + s.Secure, &http.Client{Transport: h3, Timeout: 20 * time.Second}},
	}
}

// answer is a response that was read to its end.
type answer struct {
	status int
	proto  int
	header http.Header
	body   string
	closes bool // the server closes the connection after it
}

// send makes a request with the given header fields, name and value in turn.
func (c httpClient) send(t *testing.T, method, path string, body io.Reader, fields ...string) answer {
	t.Helper()
	request, err := http.NewRequest(method, c.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		// Not Add, which would tidy up the name.
		request.Header[fields[i]] = append(request.Header[fields[i]], fields[i+1])
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatalf("%s %s over %s: %v", method, path, c.name, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("reading the answer to %s %s over %s: %v", method, path, c.name, err)
	}
	return answer{response.StatusCode, response.ProtoMajor, response.Header, string(content), response.Close}
}

// raw sends bytes that no library would send, and returns the first answer.
func raw(t *testing.T, address, request string) answer {
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
func exchange(t *testing.T, conn net.Conn, request string) answer {
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
	return answer{response.StatusCode, 1, response.Header, string(content), response.Close}
}
