package store

import (
	"fmt"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// minFree is what must be free on the disk before anything is written. Badger
// maps its files into memory, and a full disk then kills the process by SIGBUS;
// two memtables and two value-log files are the most that one write can begin.
const minFree = 64 << 20

// writable says why nothing can be written now, if so: it must be asked before
// every write.
func (s *Store) writable() error {
	if s.enoughSpace() != nil {
		return apikey.ErrNoSpace
	}
	return nil
}

// enoughSpace says what must be done for the disk to be written to.
func (s *Store) enoughSpace() error {
	free, err := freeBytes(s.path)
	if err != nil || free >= s.minFree {
		return nil // where it cannot tell, it lets the write find out
	}
	return fmt.Errorf("the disk has %d MiB left, and a write may need %d MiB: make room on it", free>>20, s.minFree>>20)
}
