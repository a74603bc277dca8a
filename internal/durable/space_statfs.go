//go:build linux || darwin || freebsd

package durable

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// freeBytes returns how much this process may still write beside path.
func freeBytes(path string) (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return 0, err
	}
	// FreeBSD counts below zero when only root may still write.
	free := max(int64(stat.Bavail), 0)
	return uint64(free) * uint64(stat.Bsize), nil
}

// userOf returns the user who owns a file.
func userOf(file fs.FileInfo) (uid int, known bool) {
	stat, known := file.Sys().(*syscall.Stat_t)
	if !known {
		return 0, false
	}
	return int(stat.Uid), true
}

// allocatedBytes returns what a file takes on the disk. Badger gives its logs
// their full length at once, and fills them bit by bit.
func allocatedBytes(file fs.FileInfo) uint64 {
	stat, ok := file.Sys().(*syscall.Stat_t)
	if !ok {
		return uint64(file.Size())
	}
	return uint64(stat.Blocks) * 512
}
