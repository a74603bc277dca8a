//go:build linux || darwin || freebsd

package durable

import (
	"os"
	"syscall"
)

// Locked returns an error if another process has the directory open, as far as that can
// be told without opening it. [Open] is what decides.
func Locked(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return nil // it does not exist, or Open will say what is wrong
	}
	defer dir.Close()
	// Badger holds an exclusive lock on the directory.
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); locked(err) {
		return explain(path, err)
	}
	return nil // and closing it gives the lock back
}
