package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpen_noPermission(t *testing.T) {
	const advice = ": permission denied: the user that runs this process must own the directory and be able to write to it"
	locked := filepath.Join(t.TempDir(), "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(locked); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(locked, "keys")
	notRoot(t)
	equal(t, "error", openFails(t, path), "mkdir "+path+advice)
}

// A change is refused while Badger could not create files, although it can write its own.
func TestChange_noPermission(t *testing.T) {
	db := openNew(t)
	id := mustCreate(t, db)
	if err := os.Chmod(db.Path(), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Run("without", func(t *testing.T) {
		notRoot(t)
		err := change(db, start, record(id, revoked))
		if _, immutable := errors.AsType[*ImmutableError](err); !immutable || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v, want an *ImmutableError of %v", err, fs.ErrPermission)
		}
		equal(t, "status", statuses(t, db)[id], active)
	})
	if err := os.Chmod(db.Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	mustRevoke(t, db, id)
}

// notRoot drops root's file permissions for this test, if it has them: on Linux
// they belong to the thread whose file system user is root.
func notRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	runtime.LockOSThread()
	if _, err := unix.SetfsuidRetUid(os.Getuid() + 65534); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := unix.SetfsuidRetUid(0); err != nil {
			t.Fatal(err)
		}
		runtime.UnlockOSThread()
	})
}
