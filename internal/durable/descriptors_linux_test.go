package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// A process that may open no more files refuses changes, and makes them once it may.
func TestChange_noDescriptors(t *testing.T) {
	equal(t, "child", reportAs(t, roleDescriptors, filepath.Join(t.TempDir(), "keys")), testenv.Opened+"\nrefused, then made")
}

func init() { inRole[roleDescriptors] = withoutDescriptors }

// withoutDescriptors changes a database while this process may open no file, and
// afterwards.
func withoutDescriptors(db *DB) error {
	id := newID()
	if err := change(db, start, record(id, active)); err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	before := limit.Cur
	// The lowest number that is free: all below are taken.
	free, err := os.Open(db.Path())
	if err != nil {
		return err
	}
	limit.Cur = uint64(free.Fd())
	free.Close()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	refused := change(db, start, record(id, revoked))
	noted := longNotes(db)
	limit.Cur = before
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for _, err := range []error{refused, noted} {
		if !errors.Is(err, syscall.EMFILE) || errors.Is(err, ErrInDoubt) || errors.Is(err, ErrFailed) {
			return fmt.Errorf("got %v, want %v", err, syscall.EMFILE)
		}
	}
	if err := errors.Join(change(db, start, record(id, revoked)), longNotes(db)); err != nil {
		return err
	}
	fmt.Println("refused, then made")
	return nil
}
