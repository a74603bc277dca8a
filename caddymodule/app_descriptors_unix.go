//go:build linux || darwin || freebsd

package caddymodule

import "golang.org/x/sys/unix"

// descriptorLimit returns how many files this process may open. Go raises the soft
// limit to the hard one at startup.
func descriptorLimit() (limit uint64, known bool) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return uint64(r.Cur), true
}

// nextDescriptor returns the number that the next file would get. It is not ok if
// there is none left.
func nextDescriptor() (number uint64, ok bool) {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	_ = unix.Close(fd)
	return uint64(fd), true
}
