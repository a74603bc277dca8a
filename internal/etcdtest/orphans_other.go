//go:build !linux

package etcdtest

import "syscall"

// notOrphaned does nothing: only Linux can end a process with its parent.
func notOrphaned() *syscall.SysProcAttr { return nil }
