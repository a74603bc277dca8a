package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a server that was started, with the children that it has.
type process struct {
	cmd *exec.Cmd
	log bytes.Buffer
}

// first is the core of what is measured; rest are those of what loads it.
const first = "0"

func rest(cores int) string {
	if cores < 2 {
		return first
	}
	return fmt.Sprintf("1-%d", cores-1)
}

// launch starts a server on some cores, and waits until it listens.
func launch(ctx context.Context, cores, listen string, env []string, command ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, "taskset", append([]string{"-c", cores}, command...)...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 10 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			return p, conn.Close()
		}
		if time.Now().After(deadline) {
			p.stop()
			return nil, fmt.Errorf("%s does not listen on %s:\n%s", filepath.Base(command[0]), listen, p.log.String())
		}
	}
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// usage returns the CPU time, user and system, that a process and its living
// children have used, and the memory that is resident.
func (p *process) usage() (cpu time.Duration, resident int, err error) {
	for _, pid := range family(p.cmd.Process.Pid) {
		used, err := cpuTime(pid)
		if err != nil {
			return 0, 0, err
		}
		statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0, 0, err
		}
		pages, _ := strconv.Atoi(strings.Fields(string(statm))[1]) // see proc_pid_statm(5)
		cpu, resident = cpu+used, resident+pages*os.Getpagesize()
	}
	return cpu, resident, nil
}

// cpuTime reads the clock of another process's CPU time, which counts
// nanoseconds where /proc/PID/stat counts hundredths of a second. How the clock's
// id is made from that of the process is part of Linux's interface: see
// clock_getcpuclockid(3), and include/linux/posix-timers_types.h of the kernel.
func cpuTime(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// family returns a process and its descendants.
func family(pid int) []int {
	all := []int{pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, child := range strings.Fields(string(children)) {
		if id, err := strconv.Atoi(child); err == nil {
			all = append(all, family(id)...)
		}
	}
	return all
}

// freeAddress returns an address that nobody listens on now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
