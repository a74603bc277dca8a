package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running server, with its children.
type process struct {
	cmd *exec.Cmd
	log bytes.Buffer
}

// first is the core that runs what is measured, unless it runs on every core; rest are the
// others.
const first = "0"

func every() string { return fmt.Sprintf("0-%d", runtime.NumCPU()-1) }

func rest() string {
	if runtime.NumCPU() < 2 {
		return first
	}
	return fmt.Sprintf("1-%d", runtime.NumCPU()-1)
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

// usage returns the user and system CPU time of a process and its living children, and
// their resident memory.
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

// cpuTime reads another process's CPU-time clock, which counts nanoseconds, whereas
// /proc/PID/stat counts hundredths of a second. How a process id becomes a clock id is
// part of Linux's interface: see clock_getcpuclockid(3), and
// include/linux/posix-timers_types.h in the kernel.
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

// freeAddress returns an address on which nothing is listening now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
