package durable

import (
	"io/fs"
	"syscall"
)

// stampOf returns the stamp of a file. The inode and the time of its last change, which
// no program can set, differ for a copy of the file, and for one that was written to,
// renamed or put back.
func stampOf(file fs.FileInfo) (s stamp, known bool) {
	stat, known := file.Sys().(*syscall.Stat_t)
	if !known {
		return s, false
	}
	return stamp{Size: file.Size(), Inode: stat.Ino, Modified: stat.Mtim.Nano(), Changed: stat.Ctim.Nano()}, true
}
