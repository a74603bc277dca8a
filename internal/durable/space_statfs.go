//go:build linux || darwin || freebsd

package durable

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// freeBytes returns how many bytes this process may still write to the disk of
// path.
func freeBytes(path string) (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return 0, err
	}
	// FreeBSD reports a negative number when only root may still write.
	free := max(int64(stat.Bavail), 0)
	return uint64(free) * uint64(stat.Bsize), nil
}

// userOf returns the owner of a file.
func userOf(file fs.FileInfo) (uid int, known bool) {
	stat, known := file.Sys().(*syscall.Stat_t)
	if !known {
		return 0, false
	}
	return int(stat.Uid), true
}

// allocatedBytes returns the disk space of a file. Badger creates its logs at their
// full length, and fills them later.
func allocatedBytes(file fs.FileInfo) uint64 {
	stat, ok := file.Sys().(*syscall.Stat_t)
	if !ok {
		return uint64(file.Size())
	}
	return uint64(stat.Blocks) * 512
}
