package durable

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A cursor finds what is there and nothing else, in any order of keys.
func TestCursor(t *testing.T) {
	db := openNew(t)
	name := func(n int) []byte { return fmt.Appendf(nil, "x/%03d", n) }
	if err := db.Note(func(txn *Txn) error {
		for n := 0; n < 300; n += 1 + n%7 {
			if err := txn.Set(name(n), fmt.Appendf(nil, "%d", n)); err != nil {
				return err
			}
		}
		return txn.Set([]byte("y/000"), nil)
	}); err != nil {
		t.Fatal(err)
	}
	err := db.View(func(txn *Txn) error {
		c := txn.Cursor([]byte("x/"))
		defer c.Close()
		for asked := range 2000 {
			n := asked % 330
			if asked > 1000 {
				n = rand.IntN(330)
			}
			_, err := txn.Get(name(n))
			want := err == nil
			value, got := c.At(name(n))
			if got != want || got && string(value) != fmt.Sprint(n) {
				t.Errorf("%d: got %q, %t, want %t", n, value, got, want)
			}
		}
		if _, found := c.At([]byte("y/000")); found {
			t.Error("got a record with another prefix")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
