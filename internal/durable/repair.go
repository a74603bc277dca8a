package durable

import "go.uber.org/zap"

// Repair is something that Open did to restore acknowledged changes.
type Repair struct {
	Kind      RepairKind
	Reason    error  // nil if the kind says it all
	Records   int    // number of records replayed
	Directory string // quarantine of the damaged files
}

// RepairKind is a kind of repair, as the log message for it.
type RepairKind string

const (
	// Replayed means that changes in the journal were missing from Badger's files.
	Replayed RepairKind = "the key store's files had lost changes, which were restored from its journal"
	// Rebuilding is reported before a rebuild, and Rebuilt after it.
	Rebuilding RepairKind = "the key store's files are damaged: rebuilding them from its journal, which takes a while"
	Rebuilt    RepairKind = "the key store's files were rebuilt: last-used times since the journal's snapshot are lost"
	// KeptDamaged means that the damaged files were moved to a quarantine
	// directory.
	KeptDamaged RepairKind = "the key store's damaged files were kept: delete them when they are no longer needed"
	// DroppedTorn means that a torn write at the end of the journal was truncated.
	DroppedTorn RepairKind = "the key store's journal ended with an incomplete change, which was never acknowledged and has been discarded"
)

// Repairs returns the repairs that Open made, in order.
func (db *DB) Repairs() []Repair { return db.repairs }

// repair records a repair, and logs it.
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
