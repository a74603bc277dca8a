package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/sethash"
)

// replicaRecord is what a replica knows about its fleet.
type replicaRecord struct {
	apikey.Position
	// Prefix is where the fleet keeps its data in etcd.
	Prefix string `json:"prefix"`
	// Incomplete says that the replica is being filled, and that Position does not hold.
	Incomplete bool `json:"incomplete,omitzero"`
	// Moving says that the store is being moved into the fleet: see apikey.Membership.
	Moving bool `json:"moving,omitzero"`
	// Leaving says that it is being moved out of the fleet, likewise. It stays if nothing
	// comes of that.
	Leaving string `json:"leaving,omitzero"`
	// What a gateway in static mode keeps: see apikey.Contact.
	Contact       millis   `json:"contact,omitzero"`
	Registrations []string `json:"registrations,omitempty"`
	Holder        string   `json:"holder,omitempty"`
	// KeptAt is as of when the records are that are kept to be put back: see kept.go. It
	// is 0 if there are none.
	KeptAt millis `json:"kept_at,omitzero"`
}

// OpenReplica opens the replica that a gateway keeps of a fleet's store, like [Open]. The
// fleet keeps its data in etcd under a prefix. OpenReplica fails if the directory has a
// store that belongs to no fleet, or to one with another prefix.
func OpenReplica(path, prefix string, log *zap.Logger, onChange func(apikey.Outcome)) (*Store, error) {
	s, err := openDirectory(path, true, log, onChange)
	if err != nil {
		return nil, err
	}
	err = s.join(prefix)
	if err == nil {
		err = s.beginOrigin()
	}
	if err != nil {
		return nil, fmt.Errorf("opening key store at %q: %w", s.Path(), errors.Join(err, s.Close()))
	}
	return s, nil
}

// join makes a new store a replica, or checks that the store is one of this fleet.
func (s *Store) join(prefix string) error {
	var r replicaRecord
	var known, used bool
	err := s.db.View(func(txn *durable.Txn) error {
		err := load(txn, fleetKey, &r)
		known = err == nil
		used = hasRecords(txn)
		return ignoreNotFound(err)
	})
	switch {
	case err != nil:
		return err
	case known && r.Prefix != prefix:
		return fmt.Errorf("it is a replica of the fleet with the prefix %s, and the configuration says %s: correct the prefix, or use another path", r.Prefix, prefix)
	case known:
		return r.settled()
	case used:
		return errors.New("it is a store of its own, not the replica of a fleet: move it into the fleet with caddy api-keys fleet import, or give store etcd another path")
	}
	return s.writeLocally(context.Background(), time.Now(), func(txn *transaction) error {
		return save(txn, fleetKey, replicaRecord{Prefix: prefix, Incomplete: true})
	})
}

// hasRecords reports whether the store has any records, apart from those that the gateway
// makes for itself.
func hasRecords(txn reader) bool { return hasAny(txn, "k/", "s/", feedPrefix, tombstonePrefix, "a/") }

func hasAny(txn reader, prefixes ...string) bool {
	for _, prefix := range prefixes {
		for range txn.Below([]byte(prefix)) {
			return true
		}
	}
	return false
}

// notReplica fails if the store belongs to a fleet.
func notReplica(txn *durable.Txn) error {
	var r replicaRecord
	switch err := load(txn, fleetKey, &r); {
	case errors.Is(err, durable.ErrNotFound):
		return nil
	case err != nil:
		return err
	case r.Moving:
		return r.settled()
	}
	return fmt.Errorf("it is the replica of a fleet: write store etcd with prefix %s, or give store badger another path", r.Prefix)
}

// settled fails if the store is being moved.
func (r *replicaRecord) settled() error {
	if r.Moving {
		return fmt.Errorf("it is being moved into the fleet with the prefix %s: finish with caddy api-keys fleet import --store", r.Prefix)
	}
	return nil
}

// mayWrite refuses a transaction that writes records of a replica which do not come from
// its fleet.
func (s *Store) mayWrite(txn *transaction) error {
	if n := len(txn.records.list) + len(txn.out.messages); s.replica && !txn.replayed && n > 0 {
		return fmt.Errorf("%d records of a replica would be changed without its fleet", n)
	}
	return nil
}

func positionIn(txn reader) (apikey.Position, error) {
	r, err := replicaIn(txn)
	if err == nil && r.Incomplete {
		err = errors.New("the replica is incomplete")
	}
	return r.Position, err
}

// setIn returns the hash of all records of a replica.
func setIn(txn reader) (set sethash.Hash, err error) {
	encoded, err := txn.Get(setKey)
	if err == nil {
		set, err = sethash.Decode(encoded)
	}
	if err != nil {
		err = fmt.Errorf("reading the hash of all records: %w", err)
	}
	return set, err
}

// setAfter returns what that hash is with what a transaction has written.
func setAfter(txn *transaction) (sethash.Hash, error) {
	set, err := setIn(txn)
	return set, errors.Join(err, txn.records.update(&set))
}

func replicaIn(txn reader) (r replicaRecord, err error) { return r, loadIfThere(txn, fleetKey, &r) }

// Position returns how far the replica has followed its fleet. complete is false while it
// has to be filled with [Store.Reload].
func (s *Store) Position() (at apikey.Position, complete bool, err error) {
	err = s.view(func(txn *durable.Txn) error {
		r, err := replicaIn(txn)
		at, complete = r.Position, !r.Incomplete
		return err
	})
	return at, complete, err
}

// Contact returns what [Store.NoteContact] has recorded, and the confirmed time: the
// machine's clock may have been set back since.
func (s *Store) Contact() (c apikey.Contact, confirmed time.Time, err error) {
	err = s.view(func(txn *durable.Txn) error {
		r, err := replicaIn(txn)
		c = apikey.Contact{At: r.Contact.time(), Registrations: r.Registrations, Holder: r.Holder}
		note, _, clockErr := clockNote(txn)
		confirmed = note.Confirmed
		return errors.Join(err, clockErr)
	})
	return c, confirmed, err
}

// NoteContact records what the gateway has to know after a restart. The replica must be
// up to date, as of the time of the contact.
func (s *Store) NoteContact(ctx context.Context, c apikey.Contact) error {
	return s.writeLocally(ctx, time.Now(), func(txn *transaction) error {
		r, err := replicaIn(txn)
		r.Contact, r.Registrations, r.Holder = toMillis(c.At), c.Registrations, c.Holder
		return errors.Join(err, save(txn, fleetKey, r))
	})
}
