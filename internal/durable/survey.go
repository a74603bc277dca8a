package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
	"golang.org/x/sync/errgroup"
)

// fileSurvey describes Badger's files while no process has them open.
type fileSurvey struct {
	strays   strays            // keys in tables that the manifest has never named
	unnamed  []string          // paths of such tables
	manifest []byte            // content of the manifest
	tables   map[uint64][]byte // sumOfEnd of the tables that it names, by ID
	oldest   uint64            // lowest of those tables' highest versions; 0 without tables
}

// predatesRebuild reports whether a table is older than the last rebuild.
func (f *fileSurvey) predatesRebuild(base *baseRecord) bool {
	return f.oldest > 0 && f.oldest < base.Since
}

// surveyFiles reads the manifest and every table that it names, and returns an
// error if one is damaged. It changes nothing. No process may have the files open.
func surveyFiles(path string) (*fileSurvey, error) {
	content, manifest, err := wholeManifest(path)
	if err != nil {
		return nil, err
	}
	found, err := filesWith(path, ".sst")
	if err != nil {
		return nil, err
	}
	there := make(map[uint64]bool)
	result := &fileSurvey{strays: make(strays), manifest: content, tables: make(map[uint64][]byte)}
	named, err := everNamed(content)
	if err != nil {
		return nil, err
	}
	for _, name := range found {
		id, _ := table.ParseFileID(name)
		there[id] = true
		if _, current := manifest.Tables[id]; !current {
			if !named[id] {
				result.unnamed = append(result.unnamed, name)
			}
			continue
		}
		if result.tables[id], err = sumOfEnd(name); err != nil {
			return nil, err
		}
	}
	for id := range manifest.Tables {
		if !there[id] {
			return nil, fmt.Errorf("the table %q is missing", filepath.Base(table.NewFilename(id, path)))
		}
	}
	hidden, err := filesWith(filepath.Join(path, straysDirectory), ".sst")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, name := range slices.Concat(result.unnamed, hidden) {
		result.strays.add(name)
	}
	result.oldest, err = readTables(path, manifest)
	return result, err
}

func wholeManifest(path string) (content []byte, manifest badger.Manifest, err error) {
	content, manifest, err = readManifest(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, manifest, errors.New("the manifest is missing")
	}
	if isTransient(err) {
		return nil, manifest, err
	}
	if err != nil {
		return nil, manifest, fmt.Errorf("the manifest is damaged: %w", err)
	}
	info, err := os.Stat(filepath.Join(path, badger.ManifestFilename))
	if err == nil && info.Size() != int64(len(content)) {
		err = fmt.Errorf("the manifest is damaged at byte %d", len(content))
	}
	return content, manifest, err
}

// maxTableReaders bounds how many tables are read concurrently.
const maxTableReaders = 4

// readTables reads all tables, and returns the lowest of their highest versions.
func readTables(path string, manifest badger.Manifest) (oldest uint64, err error) {
	var workers errgroup.Group
	var mu sync.Mutex
	workers.SetLimit(maxTableReaders)
	for id, entry := range manifest.Tables {
		workers.Go(func() error {
			newest, err := readTable(path, id, entry)
			mu.Lock()
			defer mu.Unlock()
			if oldest == 0 || newest < oldest {
				oldest = newest
			}
			return err
		})
	}
	err = workers.Wait()
	return oldest, err
}

// readTable reads a whole table, and returns the highest version in it.
func readTable(path string, id uint64, entry badger.TableManifest) (newest uint64, err error) {
	name := table.NewFilename(id, path)
	if entry.Compression == options.None {
		return examineTable(name)
	}
	return readForeignTable(name, entry)
}

// readForeignTable is readTable for a table of another program: this one compresses none.
// Some kinds of damage make Badger panic.
func readForeignTable(name string, entry badger.TableManifest) (newest uint64, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the table %q is damaged", filepath.Base(name))
		}
	}()
	mapped, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, fmt.Errorf("the table %q cannot be read: %w", filepath.Base(name), err)
	}
	opened, err := table.OpenTable(mapped, tableOptions(entry.Compression))
	if err != nil {
		return 0, fmt.Errorf("the table %q is damaged: %v", filepath.Base(name), err)
	}
	return opened.MaxVersion(), opened.Close(-1)
}

func tableOptions(compression options.CompressionType) table.Options {
	return table.Options{
		ReadOnly: true, Compression: compression, ChkMode: options.OnTableRead, BlockSize: badger.DefaultOptions("").BlockSize,
	}
}
