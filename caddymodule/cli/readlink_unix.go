//go:build darwin || freebsd

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// readLink returns where a symbolic link leads to, and whether there is one. A link of another
// user is refused, and so is one that another user could put there once its owner is known.
func readLink(path string) (target string, isLink bool, err error) {
	dir, name := filepath.Split(path)
	dir = cmp.Or(dir, ".")
	in, err := os.OpenRoot(dir) // so that all that follows is about the same directory
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil // creating the backup says why
	}
	if err != nil {
		return "", false, err
	}
	defer in.Close()
	info, err := in.Lstat(name)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return "", false, nil // opening it says why
	}
	if err := trusted(path, info); err != nil {
		return "", false, err
	}
	around, err := in.Stat(".")
	if err != nil {
		return "", false, err
	}
	if err := trusted(dir, around); err != nil {
		return "", false, err
	}
	if around.Mode().Perm()&0o022 != 0 && around.Mode()&fs.ModeSticky == 0 {
		return "", false, fmt.Errorf("%q is a link in a directory that others can write to, who could redirect the backup: name what it leads to", path)
	}
	target, err = in.Readlink(name)
	return target, true, err
}
