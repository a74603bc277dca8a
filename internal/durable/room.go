package durable

import (
	"os"
	"runtime"
	"sync"
)

// Go preempts a goroutine that computes after ten milliseconds. While as many compute as
// GOMAXPROCS allows, one per CPU, a request waits for that long, and again whenever it
// has waited for something else. During bulk changes, those are Badger's, which write
// and merge tables and cannot be paced: it makes up to two merges at once, each in up to
// five parts. So there are more threads than CPUs then: the kernel shares the CPUs out,
// and prefers threads that have just woken up.

// spareThreads is by how much GOMAXPROCS is raised: by as much as Badger has parts of merges.
const spareThreads = 10

// room is who needs more threads in this process, and GOMAXPROCS without them.
var room struct {
	sync.Mutex
	makers, before int
}

// makeRoom raises GOMAXPROCS until everyone who has called it has called leave. It does
// nothing unless GOMAXPROCS is the number of CPUs: where it is lower, the process may have
// a quota, and the kernel stops all threads of a process that exceeds its quota.
func makeRoom() (leave func()) {
	room.Lock()
	defer room.Unlock()
	if room.makers == 0 {
		room.before = runtime.GOMAXPROCS(0)
		if room.before == runtime.NumCPU() {
			runtime.GOMAXPROCS(room.before + spareThreads)
		}
	}
	room.makers++
	return sync.OnceFunc(leaveRoom)
}

func leaveRoom() {
	room.Lock()
	defer room.Unlock()
	if room.makers--; room.makers > 0 || runtime.GOMAXPROCS(0) != room.before+spareThreads {
		return
	}
	if os.Getenv("GOMAXPROCS") != "" {
		runtime.GOMAXPROCS(room.before)
		return
	}
	runtime.SetDefaultGOMAXPROCS() // which follows the process's quota from then on, as before
}
