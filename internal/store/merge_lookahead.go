package store

// known says which records of a batch the store may have.
type known struct {
	all bool // may be there
	ids map[string]bool
}

func (k known) mayHave(id string) bool { return k.all || k.ids[id] }

// lookAhead finds out which records of the batch the store may have. Usually it has none,
// or few, and seeing that for the whole batch is cheaper than looking up each record.
func (m *merge) lookAhead(batch []backupLine) {
	var keys, events []string // their ids, which are sorted in a backup
	for i := range batch {
		switch line := &batch[i]; {
		case line.Key != nil:
			keys = append(keys, line.Key.ID)
		case line.Event != nil:
			events = append(events, line.Event.ID)
		}
	}
	m.keys, m.events = knownOf(m.txn, "k/", keys), knownOf(m.txn, "a/", events)
}

// knownOf goes through the records that the store has from the first to the last of
// sorted ids, unless they are more than those ids.
func knownOf(txn reader, prefix string, ids []string) (k known) {
	if len(ids) == 0 {
		return k
	}
	first, after := prefix+ids[0], prefix+ids[len(ids)-1]+"\x00"
	k.ids = make(map[string]bool)
	for key := range txn.Between([]byte(first), []byte(after)) {
		if len(k.ids) == len(ids) {
			return known{all: true}
		}
		k.ids[string(key[len(prefix):])] = true
	}
	return k
}
