package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// TestCursor: whatever it is asked for, and in whatever order, it finds what is
// there, and nothing else.
func TestCursor(t *testing.T) {
	s := openNew(t)
	name := func(n int) []byte { return fmt.Appendf(nil, "x/%03d", n) }
	if err := s.unjournaled(func(txn *transaction) error {
		for n := 0; n < 300; n += 1 + n%7 {
			if err := txn.Set(name(n), fmt.Appendf(nil, "%d", n)); err != nil {
				return err
			}
		}
		return txn.Set([]byte("y/000"), nil)
	}); err != nil {
		t.Fatal(err)
	}
	err := s.view(func(txn *badger.Txn) error {
		c := newCursor(txn, []byte("x/"))
		defer c.close()
		for asked := range 2000 {
			n := asked % 330
			if asked > 1000 {
				n = rand.IntN(330)
			}
			_, err := txn.Get(name(n))
			want := err == nil
			got, err := holds(c.at(name(n)), fmt.Appendf(nil, "%d", n))
			if err != nil || got != want {
				t.Errorf("%d: got %t and error %v, want %t", n, got, err, want)
			}
		}
		if c.at([]byte("y/000")) != nil {
			t.Error("got a record below another prefix")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
