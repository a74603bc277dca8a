package cli

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// readLink returns where a symbolic link leads to, and whether there is one. A link of another
// user is refused: it is opened, so that nobody can replace it once its owner is known.
func readLink(path string) (target string, isLink bool, err error) {
	opened, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", false, nil // opening it says why
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return "", false, err
	}
	if err := trusted(path, info); err != nil {
		return "", false, err
	}
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(opened.Fd()), "", buffer)
	if err != nil {
		return "", false, &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	return string(buffer[:n]), true, nil
}
