package durable

// Plan runs do in a transaction that is discarded: it can write, and read what it has
// written, but nothing is changed. It waits for nobody. It fails as a change would while
// nothing can be written, so that nobody plans what cannot be done.
func (db *DB) Plan(do func(*Txn) error) error {
	return db.use(func() (err error) {
		defer db.survive(&err)
		if err := db.checkWritable(); err != nil {
			return err
		}
		badgerTxn := db.badger.NewTransaction(true)
		defer badgerTxn.Discard()
		txn := db.txn(badgerTxn)
		return txn.result(do(txn))
	})
}
