package bubble_test

import (
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// Goroutines look at expired timers. With more than one thread, the race detector crashes
// in about every second run.
func TestTest_expiredTimers(t *testing.T) {
	for range 200 {
		bubble.Test(t, func(*testing.T) {
			var w sync.WaitGroup
			for range 8 {
				w.Go(func() {
					for range 100 {
						select {
						case <-time.NewTimer(0).C:
						default:
						}
					}
				})
			}
			w.Wait()
		})
	}
}

// Waiting makes what the others have written visible, to the race detector too.
func TestWait(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		begun, woken := time.Now(), time.Time{}
		go func() {
			time.Sleep(time.Hour)
			woken = time.Now()
		}()
		time.Sleep(time.Hour)
		bubble.Wait()
		if got := woken.Sub(begun); got != time.Hour {
			t.Errorf("got %v, want an hour", got)
		}
	})
}
