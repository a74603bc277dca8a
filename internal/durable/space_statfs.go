//go:build linux || darwin || freebsd

package durable

import (
	"io/fs"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// freeOn returns what this process may still write to the disk of path.
func freeOn(path string) (left free, err error) {
	var stat unix.Statfs_t
	if err := again(func() error { return unix.Statfs(path, &stat) }); err != nil {
		return free{}, err
	}
	// FreeBSD reports a negative number when only root may still write.
	left.bytes = uint64(max(int64(stat.Bavail), 0)) * uint64(stat.Bsize)
	left.inodes = inodesLeft(uint64(stat.Files), int64(stat.Ffree))
	return left, nil
}

// inodesLeft returns how many inodes are free, if a file system says how many there are: Btrfs
// makes them as it needs them, and says 0 of 0, and CephFS says that -1 are free.
func inodesLeft(all uint64, free int64) uint64 {
	if all == 0 || free < 0 {
		return math.MaxUint64
	}
	return uint64(free)
}

// creatable returns why no file can be created in a directory, whatever the space, or nil.
func creatable(path string) error {
	if err := again(func() error { return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS) }); err != nil {
		return &fs.PathError{Op: "access", Path: path, Err: err}
	}
	opened := make([]int, 0, spareFiles)
	defer func() {
		for _, fd := range opened {
			_ = unix.Close(fd)
		}
	}()
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	for err == nil {
		if opened = append(opened, fd); len(opened) == spareFiles {
			return nil
		}
		fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) // a tenth of the time of unix.Open
	}
	return &fs.PathError{Op: "open", Path: path, Err: err}
}

// again makes a system call until no signal interrupts it, as package os does: some file
// systems let the signals do so that Go preempts goroutines with.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// userOf returns the owner of a file.
func userOf(file fs.FileInfo) (uid int, known bool) {
	stat, known := file.Sys().(*syscall.Stat_t)
	if !known {
		return 0, false
	}
	return int(stat.Uid), true
}

// allocatedBytes returns the disk space of a file. Badger creates its logs at their
// full length, and fills them later.
func allocatedBytes(file fs.FileInfo) uint64 {
	stat, ok := file.Sys().(*syscall.Stat_t)
	if !ok {
		return uint64(file.Size())
	}
	return uint64(stat.Blocks) * 512
}
