package durable

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// A footprint is what Badger's files were like when a snapshot was begun. Badger
// adds to its manifest, and writes a table once. So where the manifest still
// begins as it did, and the tables of then that are left are the same, the files
// come from those of then, and hold what those held; and where not, they were
// exchanged for others. That Badger writes its manifest anew, after ten thousand
// deletions of tables, looks the same until the next snapshot.
type footprint struct {
	Manifest int64             // bytes, to the end of an entry
	Sum      []byte            // of them, by SHA-256
	Tables   map[uint64][]byte // the sums of their ends, where the keys and versions in them are told
}

// tableEnd is how much of a table's end is summed up: its index, which is near its
// end, has a sum of its own, and a filter made from all of its keys.
const tableEnd = 16 << 10

// baseRecord is what Badger has of the journal's snapshot.
type baseRecord struct {
	Number    uint64 // of the last change before it
	Footprint footprint
	// Since is the version in Badger from which the files have theirs, where they
	// were built anew: what is older is of the files before.
	Since uint64 `json:",omitzero"`
}

// footprintOf returns the footprint of the files in a directory. Badger may have
// them open; if it has just removed a table, the error is [os.ErrNotExist].
func footprintOf(path string) (f footprint, err error) {
	content, manifest, err := readManifest(path)
	if err != nil {
		return f, err
	}
	sum := sha256.Sum256(content)
	f = footprint{Manifest: int64(len(content)), Sum: sum[:], Tables: make(map[uint64][]byte)}
	for id := range manifest.Tables {
		if f.Tables[id], err = sumOfEnd(table.NewFilename(id, path)); err != nil {
			return f, err
		}
	}
	return f, nil
}

func sumOfEnd(path string) ([]byte, error) {
	opened, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	fmt.Fprintln(h, info.Size())
	_, err = io.Copy(h, io.NewSectionReader(opened, max(0, info.Size()-tableEnd), tableEnd))
	return h.Sum(nil)[:8], err
}

// readManifest returns the entries of the manifest that are whole, and what they
// say.
func readManifest(path string) (content []byte, manifest badger.Manifest, err error) {
	name := filepath.Join(path, badger.ManifestFilename)
	opened, err := os.Open(name)
	if err != nil {
		return nil, manifest, err
	}
	defer opened.Close()
	manifest, whole, err := badger.ReplayManifestFile(opened, 0, badger.DefaultOptions(path))
	if err != nil {
		return nil, manifest, err
	}
	content, err = os.ReadFile(name)
	if err == nil && int64(len(content)) < whole {
		err = errors.New("it was truncated while it was being read")
	}
	if err != nil {
		return nil, manifest, err
	}
	return content[:whole], manifest, nil
}

// leadsTo reports whether files that were surveyed come from those of the
// footprint.
func (f *footprint) leadsTo(later *fileSurvey) bool {
	if f.Manifest == 0 || int64(len(later.manifest)) < f.Manifest {
		return false
	}
	if sum := sha256.Sum256(later.manifest[:f.Manifest]); !bytes.Equal(sum[:], f.Sum) {
		return false
	}
	for id, sum := range later.tables {
		if of, known := f.Tables[id]; known && !bytes.Equal(of, sum) {
			return false
		}
	}
	return true
}
