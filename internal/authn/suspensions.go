package authn

import (
	"maps"
	"sync"
	"sync/atomic"
)

// suspensions is the set of suspended workspaces. Every request reads it and it rarely
// changes, so a change copies it.
type suspensions struct {
	writing sync.Mutex
	current atomic.Pointer[map[string]struct{}]
}

func (s *suspensions) has(workspaceID string) bool {
	_, found := (*s.current.Load())[workspaceID]
	return found
}

func (s *suspensions) replace(ids []string) {
	set := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		set[id] = struct{}{}
	}
	s.current.Store(&set)
}

func (s *suspensions) set(workspaceID string, suspended bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	set := maps.Clone(*s.current.Load())
	if suspended {
		set[workspaceID] = struct{}{}
	} else {
		delete(set, workspaceID)
	}
	s.current.Store(&set)
}
