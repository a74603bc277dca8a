package durable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
	"google.golang.org/protobuf/proto"
)

// strays are the keys in tables that the manifest has never named, with their
// versions. Badger deletes such tables. Either a crash interrupted the making of a
// table, and Badger has its contents elsewhere too; or the manifest has lost its
// end.
//
// A table that the manifest named once is not a stray: it was compacted, and
// remained because it was being read when the process was killed.
type strays map[string]uint64

// straysDirectory is the store's subdirectory for stray tables, until it is known
// whether Badger has their contents.
const straysDirectory = "strays"

// everNamed returns the IDs of all tables that a manifest has ever named.
func everNamed(manifest []byte) (map[uint64]bool, error) {
	named := make(map[uint64]bool)
	err := eachChangeSet(manifest, func(_ int64, changes []*pb.ManifestChange) {
		for _, change := range changes {
			named[change.Id] = true
		}
	})
	return named, err
}

// eachChangeSet calls visit for each entry of a manifest, with its offset. The file begins
// with 8 bytes of header; each entry follows its length and its checksum, which was verified
// before.
func eachChangeSet(manifest []byte, visit func(at int64, changes []*pb.ManifestChange)) error {
	const header, entryHeader = 8, 8
	for rest := manifest[min(header, len(manifest)):]; len(rest) >= entryHeader; {
		length := uint64(binary.BigEndian.Uint32(rest))
		if uint64(len(rest)) < entryHeader+length {
			return errors.New("the manifest is damaged")
		}
		var set pb.ManifestChangeSet
		if err := proto.Unmarshal(rest[entryHeader:entryHeader+length], &set); err != nil {
			return err
		}
		visit(int64(len(manifest)-len(rest)), set.Changes)
		rest = rest[entryHeader+length:]
	}
	return nil
}

// add adds the keys of a table. One that cannot be read was never finished.
func (s strays) add(name string) {
	defer func() { _ = recover() }()
	mapped, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return
	}
	opened, err := table.OpenTable(mapped, tableOptions(options.None))
	if err != nil {
		return
	}
	defer opened.Close(-1)
	it := opened.NewIterator(0)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if key := y.ParseKey(it.Key()); !bytes.HasPrefix(key, []byte("!badger!")) {
			s[string(key)] = max(s[string(key)], y.ParseTs(it.Key()))
		}
	}
}

// lost reports whether Badger lacks one of the versions.
func (s strays) lost(opened *badger.DB) (lost bool, err error) {
	err = opened.View(func(txn *badger.Txn) error {
		for key, version := range s {
			if item, err := txn.Get([]byte(key)); err == nil && item.Version() >= version {
				continue
			}
			if !hasVersion(txn, key, version) { // a deletion, for instance
				lost = true
				return nil
			}
		}
		return nil
	})
	return lost, err
}

func hasVersion(txn *badger.Txn, key string, version uint64) bool {
	it := txn.NewKeyIterator([]byte(key), badger.IteratorOptions{AllVersions: true})
	defer it.Close()
	it.Rewind()
	return it.Valid() && it.Item().Version() >= version
}

// openSurveyed opens Badger on surveyed files, and reports whether it has lost what
// is in a stray table. If so, the table stays, so that the next start finds the
// same.
func (db *DB) openSurveyed(files *fileSurvey) (lost bool, err error) {
	hidden := filepath.Join(db.path, straysDirectory)
	for _, name := range files.unnamed {
		if err := os.MkdirAll(hidden, 0o700); err != nil {
			return false, err
		}
		if err := os.Rename(name, filepath.Join(hidden, filepath.Base(name))); err != nil {
			return false, err
		}
	}
	if err := db.openBadger(); err != nil {
		return false, err
	}
	if lost, err := files.strays.lost(db.badger); err != nil || lost {
		return lost, err
	}
	return false, os.RemoveAll(hidden)
}
