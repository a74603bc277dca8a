package store

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func randomDigest() (d apikey.Digest) {
	_, _ = rand.Read(d[:]) // it never fails
	return d
}

// awaitFilter waits until the store has read which keys it has.
func awaitFilter(t testing.TB, s *Store) {
	t.Helper()
	awaitFilterThat(t, s, func(k *digestFilter) bool { return k != nil })
}

func awaitFilterThat(t testing.TB, s *Store, as func(*digestFilter) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !as(s.filter.Load()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited a minute for the store to read which keys it has")
		}
	}
}

// mistaken returns which part of digests that are not there may be there.
func mistaken(mayHave func(apikey.Digest) bool) float64 {
	const tries = 30_000
	n := 0
	for range tries {
		if mayHave(randomDigest()) {
			n++
		}
	}
	return float64(n) / tries
}

func TestDigestFilter(t *testing.T) {
	for _, test := range []struct {
		keys  int64 // it is made for
		added int
		most  float64 // mistakes
	}{
		{0, 0, 0},
		{0, minRoom, 0.01},
		{40_000, 40_000, 0.001},
		{40_000, 80_000, 0.01},
		{40_000, 160_000, 0.1}, // no more than a few, though it is told of more than there is room for
	} {
		t.Run(fmt.Sprintf("%d of %d", test.added, test.keys), func(t *testing.T) {
			k := newDigestFilter(test.keys)
			added := make([]apikey.Digest, test.added)
			for i := range added {
				added[i] = randomDigest()
				k.add(&added[i])
			}
			for i := range added {
				if !k.has(&added[i]) {
					t.Fatal("a digest that it was told is not there")
				}
			}
			if got := mistaken(func(d apikey.Digest) bool { return k.has(&d) }); got > test.most {
				t.Errorf("got %.4f of other digests, want at most %.4f", got, test.most)
			}
			if got, want := k.full(), test.added > int(max(2*test.keys, minRoom)); got != want {
				t.Errorf("got full %t, want %t", got, want)
			}
		})
	}
}

// What is in the store may be there, whichever way it came, even while what
// knows so is being made.
func TestStore_MayHave(t *testing.T) {
	s := openNew(t)
	awaitFilter(t, s)
	if got := mistaken(s.MayHave); got > 0.001 {
		t.Errorf("an empty store: got %.4f of random digests, want none", got)
	}
	key := mustCreate(t, s, "acme", "Zapier", start)
	mustRevoke(t, s, key, start)
	wantKnown := func(what string, s *Store, key apikey.Key) {
		t.Helper()
		if !s.MayHave(key.Digest) {
			t.Errorf("%s: got that %s is not there", what, key.ID)
		}
	}
	wantKnown("made and revoked", s, key)

	s = reopen(t, s)
	wantKnown("at once after a start", s, key)
	awaitFilter(t, s)
	wantKnown("after a start", s, key)

	var learning sync.WaitGroup
	learning.Go(func() {
		for range 20 {
			s.rebuildFilter(t.Context())
		}
	})
	var made []apikey.Key
	for i := range 50 {
		made = append(made, mustCreate(t, s, "acme", fmt.Sprint("Key ", i), start))
		wantKnown("meanwhile", s, made[i])
	}
	learning.Wait()
	for _, key := range made {
		wantKnown("in the end", s, key)
	}

	backup := mustBackup(t, s, start)
	empty := openNew(t)
	awaitFilter(t, empty)
	mustRestore(t, empty, backup, start)
	for _, key := range made {
		wantKnown("restored", empty, key)
	}

	closeStore(t, s)
	if !s.MayHave(randomDigest()) {
		t.Error("a closed store knows what is not there, want that it cannot tell")
	}
}

// Where there are more keys than was thought, there is room for them in the end.
func TestStore_MayHave_grows(t *testing.T) {
	s := openNew(t)
	awaitFilter(t, s)
	small := newDigestFilter(0)
	small.room = 5
	s.filter.Store(small)
	for i := range 7 {
		mustCreate(t, s, "acme", fmt.Sprint("Key ", i), start)
	}
	awaitFilterThat(t, s, func(k *digestFilter) bool { return k != small })
	if s.filter.Load().full() {
		t.Error("it is full again")
	}
}

// After a clean stop, unknown tokens are ruled out from the first request on. Otherwise,
// nothing is ruled out before all digests have been read.
func TestStore_MayHave_kept(t *testing.T) {
	s := openNew(t)
	var made []apikey.Key
	for i := range 20 {
		made = append(made, mustCreate(t, s, "acme", fmt.Sprint("Key ", i), start))
	}
	awaitFilter(t, s)
	closeStore(t, s)

	unkept := open(t, copyOfStore(t, s), nil)
	for _, key := range made {
		if !unkept.MayHave(key.Digest) {
			t.Fatal("a copy knows that a key is not there")
		}
	}

	s = open(t, s.Path(), nil)
	if s.filter.Load() == nil {
		t.Fatal("there is no filter at once")
	}
	if got := mistaken(s.MayHave); got > 0.001 {
		t.Errorf("got %.4f of random digests, want none", got)
	}
	made = append(made, mustCreate(t, s, "acme", "One more", start))
	s = reopen(t, s)
	for _, key := range made {
		if !s.MayHave(key.Digest) {
			t.Error("a key is not there")
		}
	}
}

func copyOfStore(t *testing.T, s *Store) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keys")
	if err := os.CopyFS(path, os.DirFS(s.Path())); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadDigestFilter(t *testing.T) {
	whole := newDigestFilter(100_000)
	for range 1000 {
		digest := randomDigest()
		whole.add(&digest)
	}
	var written bytes.Buffer
	if err := whole.write(&written); err != nil {
		t.Fatal(err)
	}
	content := written.Bytes()
	read, err := readDigestFilter(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "filter", read, whole)
	for _, wrong := range [][]byte{nil, content[:10], content[:len(content)-1], append([]byte{5, 0, 0}, content[3:]...)} {
		if _, err := readDigestFilter(bytes.NewReader(wrong)); err == nil {
			t.Errorf("%d bytes: got no error, want one", len(wrong))
		}
	}
	if none, err := readDigestFilter(bytes.NewReader(make([]byte, 16))); none != nil || err != nil {
		t.Errorf("no filter: got %v, %v, want none", none, err)
	}
}

// No two keys get one digest, whether the filter knows it or the transaction has just
// added it.
func TestInsert_takenDigest(t *testing.T) {
	s := openNew(t)
	s.makeFilter(t.Context())
	there := mustCreate(t, s, "acme", "Warehouse sync", start)
	taken := func(txn *transaction, digest apikey.Digest) error {
		key := newKey("globex", "Zapier production", start)
		key.Digest = digest
		return insert(txn, &key)
	}
	if err := behind(s, func(txn *transaction) error {
		if txn.filter == nil {
			return errors.New("there is no filter: this proves nothing")
		}
		added := newKey("acme", "Zapier production", start)
		if err := insert(txn, &added); err != nil {
			return err
		}
		if taken(txn, added.Digest) == nil {
			t.Error("got two keys with a digest of the same transaction, want an error")
		}
		if taken(txn, there.Digest) == nil {
			t.Error("got two keys with a digest of the store, want an error")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
