package durable

import "go.uber.org/zap"

// Repair is something that Open had to do so that nothing acknowledged is missing.
type Repair struct {
	Kind      RepairKind
	Reason    error  // why; nil where the kind says it all
	Records   int    // that were written again
	Directory string // where damaged files are kept
}

// RepairKind says what was done, as the log does.
type RepairKind string

const (
	// Replayed changes were in the journal, and the files had lost them.
	Replayed RepairKind = "the files of the key store had lost changes, which its journal has: they are made again"
	// Rebuilding comes before Rebuilt: all files were built from the journal.
	Rebuilding RepairKind = "the files of the key store are damaged: they are built anew from its journal, which takes a while"
	Rebuilt    RepairKind = "the files of the key store were built anew: what is not known any more is when keys were used since the journal's snapshot"
	// KeptDamaged files are what was there before.
	KeptDamaged RepairKind = "the damaged files are kept: delete them when nobody needs them"
	// DroppedTorn is what a crash had left of a change.
	DroppedTorn RepairKind = "a change that was not acknowledged is not in the journal as a whole, and was not made"
)

// Repairs returns what Open had to do, in that order; nothing where all was as it
// should be.
func (db *DB) Repairs() []Repair { return db.repairs }

// repair notes a repair that is being made, and logs it.
func (db *DB) repair(r Repair) {
	db.repairs = append(db.repairs, r)
	fields := []zap.Field{zap.String("path", db.path)}
	if r.Reason != nil {
		fields = append(fields, zap.Error(r.Reason))
	}
	if r.Records > 0 {
		fields = append(fields, zap.Int("records", r.Records))
	}
	if r.Directory != "" {
		fields = append(fields, zap.String("directory", r.Directory))
	}
	if r.Kind == Rebuilding {
		db.log.Error(string(r.Kind), fields...)
		return
	}
	db.log.Warn(string(r.Kind), fields...)
}
