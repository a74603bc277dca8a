package store

import (
	"hash/maphash"
	"sync/atomic"
)

// versions count the changes to the keys of workspaces. Several can share a
// number: then a change to one of them looks like one to the others, which costs
// them a look, and no more.
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

// Version returns a number that is another one once the keys of a workspace have
// been changed. It means nothing after the store was opened again.
func (s *Store) Version(workspaceID string) uint64 {
	if s == nil {
		return 0
	}
	return s.versions.of(workspaceID).Load()
}
