//go:build linux || darwin || freebsd

package durable

import (
	"math"
	"testing"
)

func TestInodesLeft(t *testing.T) {
	for name, tt := range map[string]struct {
		all  uint64
		free int64
		want uint64
	}{
		"ext4":       {65536, 100, 100},
		"used up":    {65536, 0, 0},
		"Btrfs":      {0, 0, math.MaxUint64},
		"CephFS":     {1234, -1, math.MaxUint64},
		"all unused": {10, 10, 10},
	} {
		if got := inodesLeft(tt.all, tt.free); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}
