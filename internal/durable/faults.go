package durable

// Faults are what goes wrong in a test: the disk is full, or fails.
type Faults struct {
	// Free returns how much is left on the disk, in bytes.
	Free func() uint64
	// Commit commits a change to Badger, or does not.
	Commit func(commit func() error) error
}

// Inject has faults happen from now on. It is for tests alone.
func (db *DB) Inject(f Faults) { db.faults.Store(&f) }
