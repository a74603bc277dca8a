package test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// floodConfig counts requests in Caddy's own metrics too.
var floodConfig = strings.Replace(strings.Replace(gatewayConfig, "\tdebug\n", "\tmetrics\n", 1), "\tlog\n", "", 1)

// floodVariable scales the flood: it is how many requests each kind sends.
const floodVariable = "API_KEYS_FLOOD"

// How much the memory may grow over a flood, whatever its size: by a few bytes
// for each request of a million, had it kept something of it.
const mostHeap, mostResident = 4 << 20, 64 << 20

// TestFlood sends requests that nobody has sent before, each of a kind that
// could be remembered by mistake, and holds that nothing of them is kept: the
// metrics have the same series afterwards, and the memory does not grow.
//
// The number of requests of each kind is small, for every day; set
// API_KEYS_FLOOD=1000000 to see it hold at scale.
func TestFlood(t *testing.T) {
	t.Parallel()
	s := start(t, floodConfig)
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	count := 5_000
	if n, err := strconv.Atoi(os.Getenv(floodVariable)); err == nil {
		count = n
	}
	head := "Host: " + s.Plain + "\r\n"
	kinds := []struct {
		name   string
		status string
		build  func(unique string) string
	}{
		{"unknown tokens", " 401 ", func(unique string) string {
			return "GET /public/v1/contacts HTTP/1.1\r\n" + head + "Authorization: Bearer " + wellFormed(unique) + "\r\n\r\n"
		}},
		{"invented methods and paths", " 401 ", func(unique string) string {
			return "X" + unique + " /public/" + unique + "?q=" + unique + " HTTP/1.1\r\n" + head + "\r\n"
		}},
		{"invented methods and paths with a key", " 200 ", func(unique string) string {
			return "Y" + unique + " /public/" + unique + " HTTP/1.1\r\n" + head + "Authorization: Bearer " + token + "\r\n\r\n"
		}},
		{"invented headers and hosts", " 401 ", func(unique string) string {
			return "GET / HTTP/1.1\r\nHost: " + s.Plain + "\r\nUser-Agent: " + unique + "\r\nX-" + unique + ": a\r\nSec-Fetch-Site: " + unique +
				"\r\nAuthorization: " + unique + " " + unique + "\r\n\r\n"
		}},
	}
	for _, kind := range kinds { // warms up what is to be there: connections, pools, series
		s.flood(t, 1_000, kind.build, kind.status)
	}
	heap, resident := s.heap(), s.resident()
	series := s.metrics()
	for _, kind := range kinds {
		begun := time.Now()
		s.flood(t, count, kind.build, kind.status)
		took := time.Since(begun)
		heapGrowth, residentGrowth := s.heap()-heap, s.resident()-resident
		t.Logf("%s: %d requests at %.0f/s; the heap is %+.1f MiB, resident %+.1f MiB (from %d MiB), with %d series",
			kind.name, count, float64(count)/took.Seconds(), mebibytes(heapGrowth), mebibytes(residentGrowth), resident>>20, len(series))
		if heapGrowth > mostHeap || residentGrowth > mostResident {
			t.Errorf("%s: the heap grew by %.1f MiB and the resident memory by %.1f MiB, want at most %d and %d",
				kind.name, mebibytes(heapGrowth), mebibytes(residentGrowth), mostHeap>>20, mostResident>>20)
		}
		for name := range s.metrics() {
			if _, known := series[name]; !known {
				t.Errorf("%s: the metrics have the new series %s", kind.name, name)
			}
		}
	}
}

func mebibytes(n int) float64 { return float64(n) / (1 << 20) }

// heap returns what the process has allocated and still uses, after two
// collections: the first of them may only empty pools.
func (s *server) heap() int {
	s.T.Helper()
	s.fetch("/debug/pprof/heap?gc=1")
	s.fetch("/debug/pprof/heap?gc=1")
	return int(s.metrics()["go_memstats_heap_inuse_bytes"])
}

// flood sends n requests, each built from another word, over connections that
// stay open and with many requests under way on each. Each answer must have one
// of the statuses.
func (s *server) flood(t *testing.T, n int, build func(unique string) string, statuses ...string) {
	t.Helper()
	const connections, inFlight = 16, 64
	run := rand.Text()[:8]
	var senders sync.WaitGroup
	for c := range connections {
		senders.Go(func() {
			conn, err := net.Dial("tcp", s.Plain)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Minute))
			writer, reader := bufio.NewWriterSize(conn, 1<<16), bufio.NewReader(conn)
			for sent := c; sent < n; {
				under := 0
				for ; under < inFlight && sent < n; sent += connections {
					_, _ = io.WriteString(writer, build(fmt.Sprintf("%s%08d", run, sent)))
					under++
				}
				if err := writer.Flush(); err != nil {
					t.Error(err)
					return
				}
				for range under {
					if err := skipAnswer(reader, statuses); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	senders.Wait()
	s.Upstream.Take()
}

// skipAnswer reads one answer, and checks its status.
func skipAnswer(reader *bufio.Reader, statuses []string) error {
	head, err := gatewaytest.ReadHead(reader)
	if err != nil {
		return err
	}
	line, _, _ := strings.Cut(head, "\r\n")
	if !slices.ContainsFunc(statuses, func(status string) bool { return strings.Contains(line, status) }) {
		return fmt.Errorf("got %q, want one of %q", line, statuses)
	}
	body, err := gatewaytest.ReadBody(reader, head)
	if err != nil || body == "" {
		return fmt.Errorf("got the body %q (%w)", body, err)
	}
	return nil
}

// wellFormed returns a token that nobody has, made from a word.
func wellFormed(word string) string {
	return gatewaytest.OtherToken("agk_" + word + strings.Repeat("0", 43-len(word)) + "000000")
}
