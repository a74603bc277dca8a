//go:build !(linux || darwin || freebsd)

package caddymodule

func descriptorLimit() (limit uint64, known bool) { return 0, false }
