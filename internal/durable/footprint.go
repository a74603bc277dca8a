package durable

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// A footprint identifies Badger's files as of the start of a snapshot. Badger
// appends to its manifest, and writes each table once. So if the manifest still
// begins with the same bytes, and those of its tables that still exist are
// unchanged, the files descend from that state and contain everything in it;
// otherwise they were replaced. When Badger rewrites its manifest, after ten
// thousand table deletions, that looks like a replacement until the next snapshot.
type footprint struct {
	Manifest int64             // size in bytes, up to the end of an entry
	Sum      []byte            // SHA-256 of that
	Tables   map[uint64][]byte // by ID, from sumOfEnd
}

// tableEnd is how much of a table sumOfEnd hashes. Near the end of a table are its
// index, which has a checksum and a filter of all keys.
const tableEnd = 16 << 10

// baseRecord is what Badger has recorded about the journal's snapshot.
type baseRecord struct {
	Number    uint64 // of the last change in it
	Footprint footprint
	// Since is the Badger version from which rebuilt files count theirs: a lower
	// one belongs to the files before.
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

// sumOfEnd hashes the size of a table and its end.
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

// readManifest returns the intact entries of the manifest, raw and decoded.
func readManifest(path string) (content []byte, manifest badger.Manifest, err error) {
	_, content, manifest, err = manifestFile(path)
	return content, manifest, err
}

// manifestFile is readManifest, and returns what file that is, which Badger may replace
// meanwhile.
func manifestFile(path string) (file os.FileInfo, content []byte, manifest badger.Manifest, err error) {
	opened, err := os.Open(filepath.Join(path, badger.ManifestFilename))
	if err != nil {
		return nil, nil, manifest, err
	}
	defer opened.Close()
	if file, err = opened.Stat(); err != nil {
		return nil, nil, manifest, err
	}
	manifest, whole, err := badger.ReplayManifestFile(opened, 0, badger.DefaultOptions(path))
	if err != nil {
		return nil, nil, manifest, err
	}
	content = make([]byte, whole)
	if _, err := opened.ReadAt(content, 0); err != nil {
		return nil, nil, manifest, err
	}
	return file, content, manifest, nil
}

// isAncestorOf reports whether surveyed files descend from those of the footprint.
func (f *footprint) isAncestorOf(later *fileSurvey) bool {
	if f.Manifest == 0 || int64(len(later.manifest)) < f.Manifest {
		return false
	}
	if sum := sha256.Sum256(later.manifest[:f.Manifest]); !bytes.Equal(sum[:], f.Sum) {
		return false
	}
	for id, sum := range later.tables {
		if before, known := f.Tables[id]; known && !bytes.Equal(before, sum) {
			return false
		}
	}
	return true
}
