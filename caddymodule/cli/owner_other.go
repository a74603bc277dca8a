//go:build !(linux || darwin || freebsd)

package cli

import "io/fs"

// trusted returns nil: whose a file is cannot be told.
func trusted(string, fs.FileInfo) error { return nil }
