package durable

import (
	"runtime"
	"testing"
)

func TestMakeRoom(t *testing.T) {
	cpus := runtime.NumCPU()
	before := runtime.GOMAXPROCS(cpus)
	defer runtime.GOMAXPROCS(before)
	threads := func() int { return runtime.GOMAXPROCS(0) }
	leave, leaveToo := makeRoom(), makeRoom()
	equal(t, "threads of two", threads(), cpus+spareThreads)
	leave()
	leave()
	equal(t, "threads when one has left", threads(), cpus+spareThreads)
	leaveToo()
	equal(t, "threads when both have left", threads(), cpus)

	runtime.GOMAXPROCS(cpus + 1) // as somebody has set it
	leave = makeRoom()
	equal(t, "threads where their number was set", threads(), cpus+1)
	leave()
	equal(t, "threads after that", threads(), cpus+1)
}
