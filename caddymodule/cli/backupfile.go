package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/term"
)

// backUpTo writes a backup to whatever has a path: to standard output if that is it, to a
// FIFO or a device as it is received, and otherwise to a file.
func backUpTo(ctx context.Context, t *terminal, log io.Writer, path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.IsDir():
		return usagef("%q is a directory: name a FILE in it", path)
	case isOpen(os.Stdout, info):
		return backUpToStdout(ctx, t, log)
	}
	file, err := linked(path)
	switch {
	case err != nil:
		return err
	case info != nil && !info.Mode().IsRegular():
		return backUpInto(ctx, t, log, path, info) // not file: links of /proc/self/fd lead to no path
	}
	return backUpToFile(ctx, t, log, path, file)
}

// isOpen reports whether an open file is the one that a path leads to.
func isOpen(file *os.File, at fs.FileInfo) bool {
	info, err := file.Stat()
	return err == nil && os.SameFile(info, at)
}

func backUpToStdout(ctx context.Context, t *terminal, log io.Writer) error {
	if term.IsTerminal(int(os.Stdout.Fd())) {
		return usagef("a backup cannot be written to a terminal: name a FILE, or redirect the output")
	}
	return backUp(ctx, t, log, t.out)
}

// backUpInto writes into what was found at a path and is not a file.
func backUpInto(ctx context.Context, t *terminal, log io.Writer, path string, found fs.FileInfo) error {
	to, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if term.IsTerminal(int(to.Fd())) {
		return errors.Join(usagef("%q is a terminal: name a FILE", path), to.Close())
	}
	info, err := to.Stat()
	if err == nil && !os.SameFile(info, found) {
		err = fmt.Errorf("%s was replaced meanwhile", path)
	}
	if err == nil {
		err = trusted(path, info)
	}
	if err != nil {
		return errors.Join(err, to.Close())
	}
	return errors.Join(backUp(ctx, t, log, to), to.Close())
}

// mostLinks is how many symbolic links are followed, as by Linux.
const mostLinks = 40

// linked returns the path that a symbolic link leads to, whether or not anything is there;
// other paths as they are. A link of another user is refused.
func linked(path string) (string, error) {
	for range mostLinks {
		target, isLink, err := readLink(path)
		if err != nil {
			return "", err
		}
		if !isLink {
			return path, nil
		}
		if !filepath.IsAbs(target) {
			dir, _ := filepath.Split(path)
			if dir, err = filepath.EvalSymlinks(cmp.Or(dir, ".")); err != nil {
				return "", err
			}
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", fmt.Errorf("%s has too many links", path)
}
