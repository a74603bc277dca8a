package admin

import (
	"context"
	"runtime"

	"golang.org/x/sync/semaphore"
)

// importsAtOnce is how many imports are read at a time in this process, which bounds the
// memory that they take. Others wait.
const importsAtOnce = 32

var (
	imports = semaphore.NewWeighted(importsAtOnce)
	// importTurns leaves half of the processors to requests, however many imports there are.
	importTurns = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
)

// enterImport waits until an import may be read.
func enterImport(ctx context.Context) (leave func(), err error) {
	if err := imports.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { imports.Release(1) }, nil
}

// takeImportTurn waits until an import may use a processor. It is given back before anything
// that waits for a client or the disk.
func takeImportTurn() (giveBack func()) {
	importTurns <- struct{}{}
	return func() { <-importTurns }
}
