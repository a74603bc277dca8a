//go:build !(linux || darwin || freebsd)

package caddymodule

func descriptorLimit() (limit uint64, known bool) { return 0, false }

func nextDescriptor() (number uint64, ok bool) { return 0, true }
