package authn

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// handedOn uses a stream as a server does, from two goroutines. End must not be
// called after Done.
type handedOn struct {
	Stream
	done  atomic.Bool
	once  sync.Once
	ended chan struct{} // closed by the first End
	late  *atomic.Int64 // counts the Ends that Done did not wait for
}

func (h *handedOn) End() {
	for range 100 { // Done has time to return too early
		runtime.Gosched()
	}
	if h.done.Load() {
		h.late.Add(1)
	}
	h.once.Do(func() { close(h.ended) })
}

// TestStream_race: many streams begin, flow and end while keys are revoked, and none of
// a revoked key continues. Of the two that use a key, one waits for its End, and the
// other races with it.
func TestStream_race(t *testing.T) {
	s := new(source)
	a := newAuthenticator(t, s, time.Now)
	const keys = 8
	var late atomic.Int64
	var using sync.WaitGroup
	for range keys {
		key := liveKey(s)
		granted := key.Grant()
		revoked := make(chan struct{})
		for _, waits := range []bool{true, false} {
			using.Go(func() {
				for {
					h := &handedOn{ended: make(chan struct{}), late: &late}
					h.Begin(a, &granted, h)
					reader := make(chan struct{})
					go func() { // as a transport reads a body
						defer close(reader)
						h.Stands()
						h.Watch()
					}()
					h.Watch()
					stood := h.Stands()
					select {
					case <-revoked: // it ends, with any timing of the round and the revocation
						for h.Stands() {
							time.Sleep(time.Millisecond)
						}
						stood = false
					default:
					}
					if !stood && waits {
						<-h.ended
					}
					h.Done()
					h.done.Store(true)
					<-reader
					if !stood {
						return
					}
				}
			})
		}
		using.Go(func() {
			time.Sleep(10 * time.Millisecond)
			revoke(s, a, key)
			close(revoked)
		})
	}
	using.Wait()
	if got := late.Load(); got > 0 {
		t.Errorf("got %d calls of End after Done had returned, want none", got)
	}
}

// BenchmarkStream measures what it costs to end a short request with its key:
// without a watch, and with one, as when it flushes its response.
func BenchmarkStream(b *testing.B) {
	s := new(source)
	key := liveKey(s)
	granted := key.Grant()
	a := newAuthenticator(b, s, time.Now)
	b.Run("short", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w := new(noted)
			w.Begin(a, &granted, w)
			w.Stands()
			w.Stands()
			w.Done()
		}
	})
	b.Run("watched", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w := new(noted)
			w.Begin(a, &granted, w)
			w.Stands()
			w.Watch()
			w.Stands()
			w.Done()
		}
	})
}
