//go:build linux || darwin || freebsd

package store

import "golang.org/x/sys/unix"

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
