//go:build unix

package store

import "golang.org/x/sys/unix"

// freeBytes returns how much this process may still write beside path.
func freeBytes(path string) (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return 0, err
	}
	return stat.Bavail * uint64(stat.Bsize), nil
}
