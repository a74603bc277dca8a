package metrics

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// A slow count delays a scrape by a second at most, and the next one starts only
// after twenty times as long.
func TestSlowCount_delaysNoScrape(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		took, counted := 10*time.Second, 0
		c := SlowCount{Count: func() (map[time.Duration]int, error) {
			time.Sleep(took)
			counted++
			return map[time.Duration]int{time.Hour: counted}, nil
		}}
		want := func(when string, counts int) {
			t.Helper()
			begun := time.Now()
			got, err := c.Latest(context.Background())
			if err != nil || got[time.Hour] != counts {
				t.Errorf("%s: got %v, error %v; want the count %d", when, got, err, counts)
			}
			if waited := time.Since(begun); waited > slowCountTimeout {
				t.Errorf("%s: waited %v, want %v at most", when, waited, slowCountTimeout)
			}
		}
		want("before the first count has ended", 0)
		time.Sleep(took)
		want("after it", 1)
		time.Sleep(slowCountPause*took - 2*time.Second)
		want("before the next is due", 1)
		took = time.Millisecond
		time.Sleep(2 * time.Second)
		want("when it is due, and quick", 2)
		time.Sleep(time.Second)
		want("and again", 3)
	})
}

// A failure or a panic is returned, and the next count is made as usual.
func TestSlowCount_fails(t *testing.T) {
	for name, count := range map[string]func() (map[time.Duration]int, error){
		"an error": func() (map[time.Duration]int, error) { return nil, errors.New("input/output error") },
		"a panic":  func() (map[time.Duration]int, error) { panic("out of order") },
	} {
		t.Run(name, func(t *testing.T) {
			c := SlowCount{Count: count}
			if got, err := c.Latest(t.Context()); err == nil || got != nil {
				t.Errorf("got %v, error %v; want an error", got, err)
			}
			c.Count = func() (map[time.Duration]int, error) { return map[time.Duration]int{time.Hour: 1}, nil }
			c.due = time.Time{}
			if got, err := c.Latest(t.Context()); err != nil || got[time.Hour] != 1 {
				t.Errorf("then: got %v, error %v; want 1", got, err)
			}
		})
	}
}
