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
	case !info.Mode().IsRegular():
		return backUpInto(ctx, t, log, path)
	}
	file, err := linked(path)
	if err != nil {
		return err
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

// backUpInto writes into what is there and is not a file.
func backUpInto(ctx context.Context, t *terminal, log io.Writer, path string) error {
	to, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if term.IsTerminal(int(to.Fd())) {
		return errors.Join(usagef("%q is a terminal: name a FILE", path), to.Close())
	}
	return errors.Join(backUp(ctx, t, log, to), to.Close())
}

// mostLinks is how many symbolic links are followed, as by Linux.
const mostLinks = 40

// linked returns the path that a symbolic link leads to, whether or not anything is there;
// other paths as they are.
func linked(path string) (string, error) {
	for range mostLinks {
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil // it is not a link
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
