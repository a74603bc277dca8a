package ratelimit

import (
	"testing"
	"time"
)

// With the wall clock alone, a clock that is set back neither makes a client wait
// for it to catch up nor lets more requests pass.
func TestWallClockSetBack(t *testing.T) {
	l := New()
	limit := Limit{2, time.Minute}
	ahead := day.Add(5 * time.Hour)
	l.Allow(Count{"key", read, limit, nil}, day)
	l.Allow(Count{"key", read, limit, nil}, ahead)
	l.Allow(Count{"key", read, limit, nil}, ahead.Add(20*time.Second))
	back := day.Add(30 * time.Second)
	if got, want := l.Allow(Count{"key", read, limit, nil}, back).RetryAfter, 40*time.Second; got != want {
		t.Errorf("after the clock was set back: RetryAfter %v, want %v", got, want)
	}
	if !l.Allow(Count{"key", read, limit, nil}, back.Add(40*time.Second)).Allowed {
		t.Error("refused once its passes had left the window")
	}
	if l.Allow(Count{"key", read, limit, nil}, back.Add(59*time.Second)).Allowed {
		t.Error("passed with two in the window")
	}

	// A minute behind is a late request, which waits as usual; further behind is
	// not.
	l.Allow(Count{"late", read, Limit{1, time.Minute}, nil}, ahead)
	for _, c := range []struct{ behind, want time.Duration }{
		{time.Minute, 2 * time.Minute},
		{time.Minute + 1, time.Minute},
	} {
		if got := l.Allow(Count{"late", read, Limit{1, time.Minute}, nil}, ahead.Add(-c.behind)).RetryAfter; got != c.want {
			t.Errorf("%v behind: RetryAfter %v, want %v", c.behind, got, c.want)
		}
	}

	// A sweep before the clock is set back must not delay later requests.
	l.Sweep(day.Add(9 * time.Hour))
	if !l.Allow(Count{"new", read, Limit{1, time.Minute}, nil}, day).Allowed ||
		!l.Allow(Count{"new", read, Limit{1, time.Minute}, nil}, day.Add(time.Minute)).Allowed {
		t.Error("a new bucket waits for a clock that was set back")
	}
}

// A time with a monotonic reading is late, however far behind it is.
func TestMonotonicReadingIsNeverSetBack(t *testing.T) {
	l := New()
	limit := Limit{1, time.Minute}
	start := time.Now()
	l.Allow(Count{"key", read, limit, nil}, start.Add(5*time.Hour))
	if l.Allow(Count{"key", read, limit, nil}, start).Allowed {
		t.Error("a late request passed")
	}
	if l.Allow(Count{"key", read, limit, nil}, start.Add(time.Minute)).Allowed {
		t.Error("a late request set the clock back")
	}
	if !l.Allow(Count{"key", read, limit, nil}, start.Add(5*time.Hour+time.Minute)).Allowed {
		t.Error("refused a window later")
	}
}

// If one of two times has no monotonic reading, they are compared by the wall
// clock.
func TestMixedReadings(t *testing.T) {
	l := New()
	limit := Limit{1, time.Minute}
	start := time.Now()
	l.Allow(Count{"key", read, limit, nil}, start.Add(5*time.Hour))
	if got := l.Allow(Count{"key", read, limit, nil}, start.Round(0)).RetryAfter; got != time.Minute {
		t.Errorf("RetryAfter %v, want a minute", got)
	}
}

// Times and windows at the limits of their types do not get around a limit.
func TestFarOffTimes(t *testing.T) {
	l := New()
	limit := Limit{1, time.Minute}
	l.Allow(Count{"key", read, limit, nil}, day)
	if got := l.Allow(Count{"key", read, limit, nil}, time.Time{}); got.Allowed || got.RetryAfter != time.Minute {
		t.Errorf("at the zero time: %+v, want to wait a minute", got)
	}
	future := day.AddDate(1000, 0, 0)
	if !l.Allow(Count{"key", read, limit, nil}, future).Allowed || l.Allow(Count{"key", read, limit, nil}, future).Allowed {
		t.Error("in a thousand years: want one to pass")
	}
	if got := l.Allow(Count{"key", read, limit, nil}, day); got.Allowed || got.RetryAfter != time.Minute {
		t.Errorf("back again: %+v, want to wait a minute", got)
	}
}

func TestMonotonic(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		time time.Time
		want bool
	}{
		{now, true}, {now.Add(time.Hour), true},
		{now.Round(0), false}, {now.UTC(), false}, {day, false}, {time.Time{}, false},
	} {
		if got := monotonic(c.time); got != c.want {
			t.Errorf("monotonic(%v) = %v, want %v", c.time, got, c.want)
		}
	}
}
