//go:build linux || darwin || freebsd

package cli

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// trusted returns an error for what another user may have put in a backup's way: only what
// belongs to root, or to the user who runs the command, may say where the keys go.
func trusted(path string, info fs.FileInfo) error {
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known || stat.Uid == 0 || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	owner := strconv.Itoa(int(stat.Uid))
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	return fmt.Errorf("%q belongs to the user %s, who could receive the backup or redirect it: name a FILE in a directory that only you or root can write to", path, owner)
}
