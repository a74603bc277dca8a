package durable

// Faults are failures of the disk that a test simulates.
type Faults struct {
	// Free returns the free disk space, in bytes.
	Free func() uint64
	// Inodes returns how many files can still be created.
	Inodes func() uint64
	// Creatable returns why no file can be created in the directory.
	Creatable func() error
	// Commit commits a change to Badger, or fails.
	Commit func(commit func() error) error
	// MergeLost reports whether a merge has just lost a table.
	MergeLost func() bool
}

// Waiting returns how many changes that can be made together wait for their turn. It is only
// for tests.
func (db *DB) Waiting() int { return db.changes.joinable() }

// Inject simulates faults from now on. It is only for tests.
func (db *DB) Inject(f Faults) { db.faults.Store(&f) }
