package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// Walks of one workspace are made one after the other, and leave processors free.
func TestWalks(t *testing.T) {
	w := newWalks()
	leave, err := w.enter(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	refused := make(chan error)
	go func() {
		_, err := w.enter(ctx, "acme")
		refused <- err
	}()
	cancel()
	if err := <-refused; !errors.Is(err, context.Canceled) {
		t.Errorf("a second walk of the workspace: got %v, want an error saying that it waited until it was cancelled", err)
	}
	leave()

	const at = 64
	var wg sync.WaitGroup
	var mu sync.Mutex
	under, most := 0, 0
	for i := range at {
		wg.Go(func() {
			leave, err := w.enter(t.Context(), fmt.Sprint("workspace ", i%8))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			runtime.Gosched()
			mu.Lock()
			under--
			mu.Unlock()
			leave()
		})
	}
	wg.Wait()
	if limit := max(1, runtime.GOMAXPROCS(0)/2); most > limit {
		t.Errorf("got %d walks at once, want %d at most", most, limit)
	}
	equal(t, "lanes that are left", len(w.of), 0)
}
