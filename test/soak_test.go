package test

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// soakFor is how long TestSoak runs at least: make soak sets it.
var soakFor = flag.Duration("soak", 0, "how long TestSoak runs at least")

const (
	fewestRounds = 5
	reloads      = 10 // of each kind in a round: accepted ones and refused ones
	// If each reload or each WebSocket left one behind, there would be more than this.
	// The gateway keeps up to 32 goroutines for reading the store.
	mostGoroutines = 32 + 8
	mostFiles      = 8
)

// What may remain, besides normal variation: each key that was created stays in the
// store, with its events, and so do its entries in the indexes that Badger keeps in
// memory. Nothing of a request may remain.
const (
	heapVaries, heapByKey = 4 << 20, 1 << 10
	diskVaries, diskByKey = 64 << 20, 8 << 10
	// The garbage collector lets 128 MiB of garbage accumulate, and the system is slow
	// to take back free memory.
	residentVaries = 192 << 20
)

// TestSoak has a gateway do everything that it can do, again and again, and waits after
// each round until it is idle. It then has as many goroutines and open files as after
// the first round, and at the end neither its memory nor its store has grown with the
// number of requests.
//
// A few rounds reveal what leaks with each request. make soak runs for hours.
func TestSoak(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Env = withConnect
	s.Run(soakConfig)
	s.AwaitReady()
	w := &soak{server: s}
	_, w.expired = s.CreateExpired(t)
	_, w.full = s.Create("acme", "Warehouse sync", "full_access")
	_, w.readOnly = s.Create("acme", "Zapier production", "read_only")
	t.Run("warming up", w.round)
	first := w.rest()
	t.Logf("after the first round: %v", first)

	last := first
	for n, begun := 1, time.Now(); n <= fewestRounds || time.Since(begun) < *soakFor; n++ {
		if !t.Run(fmt.Sprintf("round %d", n), w.round) {
			return
		}
		last = w.rest()
		if last.goroutines > first.goroutines+mostGoroutines || last.files > first.files+mostFiles {
			t.Fatalf("got %d goroutines and %d files at rest, want about %d and %d:\n%s",
				last.goroutines, last.files, first.goroutines, first.files, w.fetch("/debug/pprof/goroutine?debug=1"))
		}
		if n%20 == 0 {
			t.Logf("after round %d: %v", n, last)
		}
	}

	keys := last.keys - first.keys
	// Go's HTTP/2 server lets go of some connections, and so of the configuration
	// that they came under, when they would have been idle for too long.
	for deadline := time.Now().Add(10 * idleTimeout); last.heap > first.heap+heapVaries+heapByKey*keys && time.Now().Before(deadline); {
		last = w.rest()
	}
	t.Logf("in the end: %v", last)
	for _, grown := range []struct {
		what     string
		by, most int
	}{
		{"the heap", last.heap - first.heap, heapVaries + heapByKey*keys},
		{"the resident memory", last.resident - first.resident, residentVaries + heapByKey*keys},
		{"the store's directory", last.disk - first.disk, diskVaries + diskByKey*keys},
	} {
		if grown.by > grown.most {
			t.Errorf("%s grew by %.1f MiB in %d requests with %d keys, want at most %.1f",
				grown.what, mebibytes(grown.by), last.requests-first.requests, keys, mebibytes(grown.most))
		}
	}
}

// level is how much a server has of everything that could grow, and how much it has
// done so far.
type level struct {
	goroutines, files    int // files are those that are not the store's
	heap, resident, disk int
	requests, keys       int
}

func (l level) String() string {
	return fmt.Sprintf("%d requests and %d keys made: %d goroutines, %d files, heap %.1f MiB, resident %.0f MiB, store %.1f MiB",
		l.requests, l.keys, l.goroutines, l.files, mebibytes(l.heap), mebibytes(l.resident), mebibytes(l.disk))
}

// level returns the server's current level, without its memory.
func (w *soak) level() level {
	w.T.Helper()
	series := w.metrics()
	l := level{goroutines: int(series["go_goroutines"]), files: w.files(), keys: w.made}
	for name, value := range series {
		if strings.HasPrefix(name, "caddy_api_keys_requests_total{") {
			l.requests += int(value)
		}
	}
	must(w.T, filepath.WalkDir(w.Store, func(_ string, file fs.DirEntry, err error) error {
		if err != nil || file.IsDir() {
			return nil // a compaction has just removed it
		}
		if info, err := file.Info(); err == nil {
			l.disk += int(info.Size())
		}
		return nil
	}))
	return l
}

// files returns how many files and sockets the process has open, without those of the
// store, whose number grows with its contents.
func (w *soak) files() (n int) {
	w.T.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", w.Cmd.Process.Pid)
	all, err := os.ReadDir(dir)
	must(w.T, err)
	for _, one := range all {
		if target, err := os.Readlink(filepath.Join(dir, one.Name())); err == nil && !strings.HasPrefix(target, w.Store) {
			n++
		}
	}
	return n
}

// rest returns the level of a server that receives no more requests. The level is final
// once goroutines and files have not decreased for longer than idle connections stay
// open.
func (w *soak) rest() level {
	w.T.Helper()
	least, same := w.level(), 0
	w.Await("the server to come to rest", func() bool {
		now := w.level()
		if same++; now.goroutines < least.goroutines || now.files < least.files {
			least, same = now, 0
		}
		return same == 25
	})
	least.heap, least.resident = w.kept(), w.resident()
	return least
}

// kept returns how many bytes of the heap remain after two garbage collections: the
// second one frees what the first one only released.
func (w *soak) kept() int {
	w.T.Helper()
	w.heap()
	return int(w.metrics()["go_memstats_heap_alloc_bytes"])
}

// soak is a server that is kept busy.
type soak struct {
	*server
	full, readOnly, expired string // tokens
	made                    int    // keys
}

// idleTimeout is after how long the server closes a connection that is idle.
const idleTimeout = 5 * time.Second

// soakConfig has a small cache of keys, so that it is soon full, and closes idle
// connections early.
var soakConfig = strings.NewReplacer(
	"badger {\n", "badger {\n\t\t\tcache_size 200\n",
	"\tmetrics\n", "\tmetrics\n\tservers {\n\t\ttimeouts {\n\t\t\tidle "+idleTimeout.String()+"\n\t\t}\n\t}\n",
	"\tapi_key_auth\n", "\tapi_key_auth {\n\t\trate_limit read 100000 1s\n\t}\n",
	"{{.Upstream}}", "{{.Upstream}} {\n\t\ttransport http {\n\t\t\tkeepalive 200ms\n\t\t}\n\t}",
).Replace(floodConfig)

// slow is the gateway's answer when a look-up takes two seconds, as it can on a busy
// machine. It is correct, and this test is not about it.
const slow = " 503 "

// round does everything once: first as fast as possible, then while the configuration
// is reloaded, which closes connections.
func (w *soak) round(t *testing.T) {
	const each = 1000 // a leak of 256 bytes by each makes twice the growth that is let pass
	head := "Host: " + w.Plain + "\r\nAuthorization: Bearer "
	var senders sync.WaitGroup
	for _, kind := range []struct {
		line, status string
		token        func(unique string) string
	}{
		{"GET", " 200 ", func(string) string { return w.full }},
		{"POST", " 403 ", func(string) string { return w.readOnly }},
		{"GET", " 401 ", wellFormed},
		{"GET", " 401 ", func(unique string) string { return unique }},
		{"GET", " 401 ", func(string) string { return w.expired }},
	} {
		senders.Go(func() {
			w.flood(t, each, func(unique string) string {
				return kind.line + " /public/" + unique + " HTTP/1.1\r\n" + head + kind.token(unique) + "\r\n\r\n"
			}, kind.status, slow)
		})
	}
	w.change(t, 30)
	senders.Wait()

	load := startLoad(t, w.server, w.full, w.readOnly)
	for i := range reloads {
		w.wantLoaded(t, soakConfig, true)
		w.wantLoaded(t, refusedConfigs[i%len(refusedConfigs)].change(soakConfig), false)
	}
	for range 3 {
		w.sockets(t)
	}
	w.wantLoaded(t, soakConfig, true) // ends the sockets that are open
	load.stop()
	w.Upstream.Take()
}

func (w *soak) wantLoaded(t *testing.T, config string, want bool) {
	t.Helper()
	if got, said := w.offer(config); got != want {
		t.Fatalf("got accepted = %v, want %v: %s", got, want, said)
	}
}

// change creates keys, rotates some of them, revokes them all, and reads the metrics in
// between.
func (w *soak) change(t *testing.T, n int) {
	t.Helper()
	ws := fmt.Sprintf("workspace-%d", w.made)
	for i := range n {
		key, token := w.Create(ws, fmt.Sprintf("Key number %d", i), "full_access")
		w.wantStatus(t, token, 200, 503)
		w.made++
		if i%3 == 0 {
			rotated, err := w.Keys().RotateKey(context.Background(), ws, key.ID, client.RotateRequest{})
			must(t, err)
			w.wantStatus(t, rotated.Token, 200, 503)
			w.Revoke(rotated.Key)
			w.made++
		}
		w.Revoke(key)
		w.wantStatus(t, token, 401, 503)
		w.metrics()
	}
}

// sockets opens two WebSockets in each version of HTTP. One ends with its key,
// and one with the configuration that it was opened under.
func (w *soak) sockets(t *testing.T) {
	t.Helper()
	for _, o := range openers {
		key, token := w.createAfterReload(fmt.Sprintf("Key %d for a socket", w.made))
		w.made++
		k := o.open(t, w.server, token)
		k.wantOpen(t)
		w.revokeAfterReload(key)
		k.wantClosed(t, 10*time.Second)
		k.close()
		o.open(t, w.server, w.full).wantOpen(t)
	}
}
