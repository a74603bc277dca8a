package authn

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	start := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name    string
		mark    time.Time     // what the last run had come to
		set     time.Duration // how far the wall clock is set while it runs
		elapsed time.Duration
		now     time.Time
		next    time.Time // the mark for the next run
	}{
		{"undisturbed", time.Time{}, 0, time.Hour, start.Add(time.Hour), start.Add(time.Hour)},
		{"set back", time.Time{}, -24 * time.Hour, time.Hour, start.Add(time.Hour), start.Add(time.Hour)},
		{"set forward", time.Time{}, 24 * time.Hour, time.Hour, start.Add(25 * time.Hour), start.Add(time.Hour)},
		{"set back before it started", start.Add(time.Hour), 0, time.Minute, start.Add(61 * time.Minute), start.Add(61 * time.Minute)},
		{"started later than the last run", start.Add(-time.Hour), 0, time.Minute, start.Add(time.Minute), start.Add(time.Minute)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wall, elapsed := start, time.Duration(0)
			clock := newClock(test.mark, func() (time.Time, time.Duration) { return wall, elapsed })
			wall, elapsed = start.Add(test.set+test.elapsed), test.elapsed
			if got := clock.Now(); !got.Equal(test.now) {
				t.Errorf("got the time %v, want %v", got, test.now)
			}
			if got := clock.Mark(); !got.Equal(test.next) {
				t.Errorf("got the mark %v, want %v", got, test.next)
			}
		})
	}
}
