package etcdtest

import "syscall"

// notOrphaned has a member killed when the test's process dies before it has ended its
// tests, for example because they took too long.
func notOrphaned() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
