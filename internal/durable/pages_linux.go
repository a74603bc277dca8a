package durable

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// dropPages takes the pages of Badger's tables out of the memory of the process: once all
// tables have been read, those are as large as the store. The kernel keeps them as long as it
// has room, like those of any file, and maps those again that are needed. If this fails, the
// pages stay.
func (db *DB) dropPages() {
	_ = db.use(func() (err error) {
		defer db.survive(&err)
		txn := db.badger.NewTransaction(false)
		defer txn.Discard()
		// The iterator keeps the tables mapped that it has. Where another one was, there
		// may be something else by the time that the kernel is asked.
		before := db.tableNames()
		iterator := txn.NewIterator(badger.IteratorOptions{})
		defer iterator.Close()
		after := db.tableNames()

		mappings, err := os.ReadFile("/proc/self/maps") // see proc_pid_maps(5)
		for line := range strings.Lines(string(mappings)) {
			_, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "/")
			if name = "/" + name; !before[name] || !after[name] {
				continue
			}
			var from, to uintptr
			var access string
			if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &access); err == nil && strings.HasSuffix(access, "s") {
				_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
			}
		}
		return err
	})
}

// tableNames returns the paths of Badger's tables, without symbolic links.
func (db *DB) tableNames() map[string]bool {
	path, err := filepath.EvalSymlinks(db.path)
	if err != nil {
		return nil
	}
	names := make(map[string]bool)
	for _, t := range db.badger.Tables() {
		names[filepath.Join(path, tableName(t.ID))] = true
	}
	return names
}
