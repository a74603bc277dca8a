//go:build linux || darwin || freebsd

package caddymodule

import "golang.org/x/sys/unix"

// descriptorLimit returns how many files this process may open. Go has raised the
// soft limit to the hard one by then.
func descriptorLimit() (limit uint64, known bool) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return uint64(r.Cur), true
}
