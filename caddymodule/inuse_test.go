package caddymodule

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A count that takes long keeps no scrape waiting for longer than a second, and
// is not begun again before twenty times as long has passed.
func TestInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, counted := 10*time.Second, 0
		u := inUse{count: func() (map[time.Duration]int, error) {
			time.Sleep(took)
			counted++
			return map[time.Duration]int{time.Hour: counted}, nil
		}}
		want := func(when string, counts int) {
			t.Helper()
			begun := time.Now()
			got, err := u.latest(context.Background())
			if err != nil || got[time.Hour] != counts {
				t.Errorf("%s: got %v, error %v; want the count %d", when, got, err, counts)
			}
			if waited := time.Since(begun); waited > inUsePatience {
				t.Errorf("%s: waited %v, want %v at most", when, waited, inUsePatience)
			}
		}
		want("before the first count has ended", 0)
		time.Sleep(took)
		want("after it", 1)
		time.Sleep(inUseShare*took - 2*time.Second)
		want("before the next is due", 1)
		took = time.Millisecond
		time.Sleep(2 * time.Second)
		want("when it is due, and quick", 2)
		time.Sleep(time.Second)
		want("and again", 3)
	})
}

// A failure is told, and so is a panic; after it, counting goes on.
func TestInUse_fails(t *testing.T) {
	for name, count := range map[string]func() (map[time.Duration]int, error){
		"an error": func() (map[time.Duration]int, error) { return nil, errors.New("input/output error") },
		"a panic":  func() (map[time.Duration]int, error) { panic("out of order") },
	} {
		t.Run(name, func(t *testing.T) {
			u := inUse{count: count}
			if got, err := u.latest(t.Context()); err == nil || got != nil {
				t.Errorf("got %v, error %v; want an error", got, err)
			}
			u.count = func() (map[time.Duration]int, error) { return map[time.Duration]int{time.Hour: 1}, nil }
			u.due = time.Time{}
			if got, err := u.latest(t.Context()); err != nil || got[time.Hour] != 1 {
				t.Errorf("then: got %v, error %v; want 1", got, err)
			}
		})
	}
}
