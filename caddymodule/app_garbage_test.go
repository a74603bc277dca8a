package caddymodule

import (
	"runtime/debug"
	"testing"
)

func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 100}, {18 << 20, 100}, {25 << 20, 100}, {33 << 20, 125}, {60 << 20, 150}, {64 << 20, 150}, {65 << 20, 150},
		{80 << 20, 150}, {128 << 20, 100}, {1 << 40, 100},
	} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("with %d bytes kept: got %d, want %d", c.live, got, c.want)
		}
	}
}

// TestCollector_tune: the operator's setting takes precedence.
func TestCollector_tune(t *testing.T) {
	const before = 123
	defer debug.SetGCPercent(debug.SetGCPercent(before))
	current := func() int {
		percent := debug.SetGCPercent(before)
		debug.SetGCPercent(percent)
		return percent
	}

	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "100MiB")
			new(collector).tune()
			if got := current(); got != before {
				t.Errorf("got %d, want %d as before", got, before)
			}
		})
	}
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	new(collector).tune()
	if got := current(); got == before || got < leastPercent || got > mostPercent {
		t.Errorf("got %d, want a setting of ours", got)
	}
}

// While long work runs, less garbage may accumulate.
func TestGarbage_spare(t *testing.T) {
	for live, want := range map[uint64]int{0: 200, 16 << 20: 200, 40 << 20: 75, 1 << 40: 25} {
		if got := sparingPercent(live); got != want {
			t.Errorf("with %d bytes kept: got %d, want %d", live, got, want)
		}
	}
	var c collector
	one, another := c.spare(), c.spare()
	one()
	if got := c.sparing.Load(); got != 1 {
		t.Errorf("got %d who want less, want 1", got)
	}
	another()
	if got := c.sparing.Load(); got != 0 {
		t.Errorf("got %d who want less, want none", got)
	}
}
