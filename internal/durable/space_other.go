//go:build !(linux || darwin || freebsd)

package durable

import (
	"io/fs"
	"math"
)

// freeBytes reports no limit: the write itself finds out.
func freeBytes(string) (uint64, error) { return math.MaxUint64, nil }

func allocatedBytes(file fs.FileInfo) uint64 { return uint64(file.Size()) }

func userOf(fs.FileInfo) (uid int, known bool) { return 0, false }
