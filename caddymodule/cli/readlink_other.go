//go:build !linux

package cli

import (
	"io/fs"
	"os"
)

// readLink returns where a symbolic link leads to, and whether there is one. A link of another
// user is refused.
func readLink(path string) (target string, isLink bool, err error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return "", false, nil // opening it says why
	}
	if err := trusted(path, info); err != nil {
		return "", false, err
	}
	target, err = os.Readlink(path)
	return target, true, err
}
