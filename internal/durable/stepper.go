package durable

import (
	"bytes"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// stepper moves an iterator of Badger's. As long as there are tables to examine, it
// examines those that the iterator has passed before anybody sees where it has come.
type stepper struct {
	it         *badger.Iterator
	of         badger.IteratorOptions
	unexamined *unexamined // nil if there are none
	reached    []byte
	err        error
}

func (s *stepper) valid() bool { return s.err == nil && s.it.ValidForPrefix(s.of.Prefix) }

func (s *stepper) seek(key []byte) {
	if s.unexamined == nil {
		s.it.Seek(key)
		return
	}
	s.reached = key
	if s.err = s.unexamined.check(key, key, lookAhead); s.err == nil {
		s.move(func() { s.it.Seek(key) })
	}
}

func (s *stepper) next() {
	if s.unexamined == nil {
		s.it.Next()
		return
	}
	s.move(s.it.Next)
}

// lookAhead is how many tables of a level an iterator may be ahead of its key: it reads
// the next one when it has come to the end of one.
const lookAhead = 1

// move moves the iterator, which may panic in a damaged table.
func (s *stepper) move(do func()) {
	defer func() {
		if reason := recover(); reason != nil {
			s.err = fmt.Errorf("%w: %v", ErrDamaged, reason)
		}
	}()
	do()
	from, to := s.reached, s.end()
	if s.it.ValidForPrefix(s.of.Prefix) {
		to = s.it.Item().KeyCopy(nil)
	}
	s.reached = to
	if s.of.Reverse {
		from, to = to, from
	}
	s.err = s.unexamined.check(from, to, lookAhead)
}

// end returns the end of the keys with the iterator's prefix, or nil if that is the end of
// all.
func (s *stepper) end() []byte {
	if s.of.Reverse {
		return s.of.Prefix
	}
	end := bytes.Clone(s.of.Prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
