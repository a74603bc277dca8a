package store

import (
	"hash/maphash"
	"sync/atomic"
)

// versions counts the changes to the keys of workspaces. Several workspaces can share a
// counter: then a change to one looks like a change to the others, which costs an
// unnecessary read.
type versions struct {
	seed   maphash.Seed
	counts *[1 << 12]atomic.Uint64
}

func newVersions() versions { return versions{maphash.MakeSeed(), new([1 << 12]atomic.Uint64)} }

func (v versions) of(ws string) *atomic.Uint64 {
	return &v.counts[maphash.String(v.seed, ws)%uint64(len(v.counts))]
}

func (v versions) advance(workspaces []string) {
	for _, ws := range workspaces {
		v.of(ws).Add(1)
	}
}

func (v versions) advanceAll() {
	for i := range v.counts {
		v.counts[i].Add(1)
	}
}

// Version returns a number that changes whenever the keys of a workspace do. It means
// nothing after the store has been reopened.
func (s *Store) Version(workspaceID string) uint64 {
	return s.versions.of(workspaceID).Load()
}
