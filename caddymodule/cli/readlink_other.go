//go:build !linux && !darwin && !freebsd

package cli

import (
	"io/fs"
	"os"
)

// readLink returns where a symbolic link leads to, and whether there is one. Whose it is cannot
// be told: see trusted.
func readLink(path string) (target string, isLink bool, err error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return "", false, nil // opening it says why
	}
	target, err = os.Readlink(path)
	return target, true, err
}
