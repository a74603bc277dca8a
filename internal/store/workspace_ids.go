package store

import "iter"

// maxWorkspaceID is the length of the longest id of a workspace.
const maxWorkspaceID = 64

// workspaceIDs returns the ids of the workspaces that have keys, active or ended, or are
// suspended: all from one on, in order. Database keys sort by the length of an id first,
// so the ids of each length are merged.
func workspaceIDs(txn reader, from string) iter.Seq[string] {
	return func(yield func(string) bool) {
		var lanes []*idLane
		defer func() {
			for _, l := range lanes {
				l.stop()
			}
		}()
		for length := 1; length <= maxWorkspaceID; length++ {
			for _, prefix := range []string{"q/", "s/"} {
				if l := newIDLane(txn, prefix, byte(length), from); l != nil {
					lanes = append(lanes, l)
				}
			}
		}
		for len(lanes) > 0 {
			id := lanes[0].id
			for _, l := range lanes[1:] {
				id = min(id, l.id)
			}
			if !yield(id) {
				return
			}
			lanes = pass(lanes, id)
		}
	}
}

// following returns the text that sorts next after an id; "" after "".
func following(id string) string {
	if id == "" {
		return ""
	}
	return id + "\x00"
}

// pass moves on the lanes that are at an id, and returns those that are not at their end.
func pass(lanes []*idLane, id string) []*idLane {
	rest := lanes[:0]
	for _, l := range lanes {
		if l.id != id || l.advance() {
			rest = append(rest, l)
		}
	}
	return rest
}

// idLane is at one of the ids of a certain length below a prefix.
type idLane struct {
	id   string
	skip int // the bytes before the id in a database key
	next func() (key, value []byte, ok bool)
	stop func()
}

// newIDLane returns a lane at the first id that does not precede from, or nil.
func newIDLane(txn reader, prefix string, length byte, from string) *idLane {
	below, end := append([]byte(prefix), length), append([]byte(prefix), length+1)
	l := &idLane{skip: len(below)}
	l.next, l.stop = iter.Pull2(txn.Between(append(below, from...), end))
	if !l.advance() {
		return nil
	}
	return l
}

func (l *idLane) advance() bool {
	key, _, ok := l.next()
	if ok {
		l.id = string(key[l.skip:])
	}
	return ok
}
