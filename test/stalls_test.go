package test

import (
	"sync/atomic"
	"testing"
	"time"
)

// stalls measures for how long this process was kept from running, for tests of how soon
// something happens: a busy machine holds up the gateway as much.
type stalls struct{ total atomic.Int64 } // nanoseconds

// watchStalls measures until the test has ended.
func watchStalls(t *testing.T) *stalls {
	t.Helper()
	s := new(stalls)
	const interval = 10 * time.Millisecond
	go func() {
		for last := time.Now(); t.Context().Err() == nil; {
			time.Sleep(interval)
			now := time.Now()
			s.total.Add(int64(now.Sub(last) - interval))
			last = now
		}
	}()
	return s
}

// allow extends a time limit for an idle machine by how long the process stalls from now on.
func (s *stalls) allow(long time.Duration) func() time.Duration {
	before := s.total.Load()
	return func() time.Duration { return long + time.Duration(s.total.Load()-before) }
}
