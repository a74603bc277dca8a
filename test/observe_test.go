package test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// metrics returns every series that the server exports, by its name and labels
// as they are written.
func (s *server) metrics() map[string]float64 {
	s.T.Helper()
	series := make(map[string]float64)
	for line := range strings.Lines(s.fetch("/metrics")) {
		line = strings.TrimSpace(line)
		split := strings.LastIndexByte(line, ' ')
		if split < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		value, err := strconv.ParseFloat(line[split+1:], 64)
		if err != nil {
			s.T.Fatalf("the metric %q: %v", line, err)
		}
		series[line[:split]] = value
	}
	return series
}

// counted returns how many requests were counted with these labels, as they are
// written, and any others.
func (s *server) counted(labels ...string) int {
	s.T.Helper()
	return countedIn(s.metrics(), labels...)
}

// countedIn is counted for metrics that have been read.
func countedIn(metrics map[string]float64, labels ...string) (n int) {
	for series, value := range metrics {
		other := func(label string) bool { return !strings.Contains(series, label) }
		if strings.HasPrefix(series, "caddy_api_keys_requests_total{") && !slices.ContainsFunc(labels, other) {
			n += int(value)
		}
	}
	return n
}

// fetch returns what the admin endpoint has at a path. During a reload a
// connection can be closed unread, and is tried again.
func (s *server) fetch(path string) string {
	s.T.Helper()
	var body []byte
	s.Await("the admin endpoint", func() bool {
		response, err := http.Get("http://" + s.Admin + path)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, err = io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			s.T.Fatalf("GET %s: got status %d (%v), want 200", path, response.StatusCode, err)
		}
		return true
	})
	return string(body)
}

// resident returns the memory that the process has in RAM.
func (s *server) resident() int {
	s.T.Helper()
	status, err := os.Open(filepath.Join("/proc", strconv.Itoa(s.Cmd.Process.Pid), "status"))
	must(s.T, err)
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); fields[0] == "VmRSS:" {
			kilobytes, err := strconv.Atoi(fields[1])
			must(s.T, err)
			return kilobytes << 10
		}
	}
	s.T.Fatal("the process has no VmRSS")
	return 0
}

// logged is a line of the access log.
type logged struct {
	Request struct {
		Method  string
		URI     string
		Proto   string
		Headers http.Header
	}
	Status int
	Result string `json:"api_key_result"`
	KeyID  string `json:"api_key_id"`
}

// accessLog returns the lines of the access log so far for one path. A line is written
// after its answer: a test that wants to see one waits for it.
func (s *server) accessLog(path string) (found []logged) {
	s.T.Helper()
	for line := range strings.Lines(s.Log.String()) {
		if !strings.Contains(line, `"logger":"http.log.access`) || !strings.Contains(line, `"uri":"`+path+`"`) {
			continue
		}
		var entry logged
		must(s.T, json.Unmarshal([]byte(line), &entry))
		found = append(found, entry)
	}
	return found
}

// events returns the newest events of the audit trail of a workspace.
func (s *server) events(ws string) []client.Event {
	s.T.Helper()
	var answer client.EventPage
	must(s.T, json.Unmarshal([]byte(s.fetch("/api-keys/workspaces/"+ws+"/audit?limit=200")), &answer))
	return answer.Events
}
