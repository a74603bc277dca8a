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
	Replayed RepairKind = "the key store's files had lost changes, which were restored from its journal"
	// Rebuilding comes before Rebuilt: all files were built from the journal.
	Rebuilding RepairKind = "the key store's files are damaged: rebuilding them from its journal, which takes a while"
	Rebuilt    RepairKind = "the key store's files were rebuilt: last-used times since the journal's snapshot are lost"
	// KeptDamaged files are what was there before.
	KeptDamaged RepairKind = "the key store's damaged files were kept: delete them when they are no longer needed"
	// DroppedTorn is what a crash had left of a change.
	DroppedTorn RepairKind = "the key store's journal ended with an incomplete change, which was never acknowledged and has been discarded"
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
