package durable

import (
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// Look passes the value of a key to read, as the last transaction has left it, or returns
// [ErrNotFound]. read must not keep the value. For a single key, Look costs a fraction of
// View.
func (db *DB) Look(key []byte, read func(value []byte) error) (err error) {
	defer db.survive(&err)
	if err := db.enter(); err != nil {
		return err
	}
	defer db.gate.RUnlock()
	if u := db.unexamined.Load(); u != nil {
		if err := u.check(key, key, 0); err != nil {
			return err
		}
	}
	look := db.enterLook()
	defer look.leave()
	item, err := look.txn.Get(key)
	if err != nil {
		return ownError(err)
	}
	return item.Value(read)
}

// look is a read-only transaction that all calls of Look share until something is written.
// Beginning and ending one takes longer than reading a key: Badger has a goroutine that
// keeps count of them. Badger's Get changes nothing in such a transaction.
type look struct {
	txn *badger.Txn
	// users includes the database while the transaction is the current one.
	users atomic.Int32
}

// enter reports whether the transaction can be used: its last user discards it.
func (l *look) enter() bool {
	for n := l.users.Load(); n > 0; n = l.users.Load() {
		if l.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

func (l *look) leave() {
	if l.users.Add(-1) == 0 {
		l.txn.Discard()
	}
}

// looks has the current transaction of Look. Whoever has written something replaces it
// before anybody is told: Badger lets a transaction begin only when no commit is in progress,
// and so it is the writer who waits for the disk, never Look.
type looks struct {
	current atomic.Pointer[look] // nil until the first call of Look
	wanted  atomic.Bool          // Look has been called
	mu      sync.Mutex           // held to replace current; never while anything waits for the disk
}

// enterLook returns a transaction that has all that was written before the call.
func (db *DB) enterLook() *look {
	for {
		current := db.looks.current.Load()
		switch {
		case current == nil:
			db.looks.wanted.Store(true)
			db.renewLook()
		case current.enter():
			return current
		}
	}
}

// renewLook makes later calls of Look see what has been written. Until then, Badger also
// keeps what it replaces.
func (db *DB) renewLook() {
	if !db.looks.wanted.Load() {
		return
	}
	made := &look{txn: db.badger.NewTransaction(false)}
	made.users.Store(1)
	db.looks.mu.Lock()
	defer db.looks.mu.Unlock()
	current := db.looks.current.Load()
	if current != nil && current.txn.ReadTs() >= made.txn.ReadTs() { // another writer's has that too
		made.leave()
		return
	}
	db.looks.current.Store(made)
	if current != nil {
		current.leave()
	}
}

// endLook ends the current transaction. The caller holds the gate for writing.
func (db *DB) endLook() {
	db.looks.wanted.Store(false)
	if ended := db.looks.current.Swap(nil); ended != nil {
		ended.leave()
	}
}
