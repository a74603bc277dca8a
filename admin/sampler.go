package admin

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// sampler lets one line per second through for each code and workspace, so that a
// flood neither fills the log nor hides what others are refused. Its size is fixed:
// if two workspaces share a place, which nobody can predict, one may hide the other
// for a second.
type sampler struct {
	seed  maphash.Seed
	lines map[string]*[samplerPlaces]atomic.Int64 // by code: when each place was last taken
}

const samplerPlaces = 128

func newSampler() *sampler {
	s := &sampler{seed: maphash.MakeSeed(), lines: make(map[string]*[samplerPlaces]atomic.Int64)}
	for code := range statuses {
		s.lines[code] = new([samplerPlaces]atomic.Int64)
	}
	return s
}

// take reports whether a line may be logged.
func (s *sampler) take(code, workspaceID string, now time.Time) bool {
	place := &s.lines[code][maphash.String(s.seed, workspaceID)%samplerPlaces]
	last := place.Load()
	return last != now.Unix() && place.CompareAndSwap(last, now.Unix())
}
