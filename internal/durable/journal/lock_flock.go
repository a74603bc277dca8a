//go:build linux || darwin || freebsd

package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock locks a file, which is never removed: otherwise a second process could lock
// a new file of the same name while the first still holds the old one.
func lock(path string) (unlock func(), err error) {
	opened, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(opened.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errors.Join(ErrLocked, opened.Close())
	case err != nil:
		return nil, errors.Join(&os.PathError{Op: "flock", Path: path, Err: err}, opened.Close())
	}
	return func() { _ = opened.Close() }, nil
}
