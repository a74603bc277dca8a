package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// The advice depends on neither the user that runs the tests nor the file systems
// of this machine.
func TestAdvise(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EACCES:       "must own the directory",
		syscall.EPERM:        "must own the directory",
		syscall.EROFS:        "must be writable",
		syscall.ENOSPC:       "free some disk space",
		syscall.EDQUOT:       "quota",
		syscall.EFBIG:        "LimitFSIZE",
		syscall.EMFILE:       "LimitNOFILE",
		syscall.ENFILE:       "fs.file-max",
		syscall.ENOMEM:       "memory",
		syscall.EIO:          "the disk is failing",
		syscall.ESTALE:       "mount it again",
		syscall.ENOTCONN:     "mount it again",
		syscall.ETIMEDOUT:    "mount it again",
		syscall.EHOSTDOWN:    "mount it again",
		syscall.ENOLCK:       "does not support locks",
		syscall.EOPNOTSUPP:   "does not support locks",
		syscall.ENOSYS:       "does not support locks",
		syscall.ENODEV:       "cannot map files",
		syscall.ENAMETOOLONG: "shorter path",
		syscall.ELOOP:        "loop of symbolic links",
		syscall.ENOTDIR:      "must be a directory",
		syscall.ENOENT:       "correct the path",
	} {
		err := fmt.Errorf("opening a file: %w", &fs.PathError{Op: "open", Path: "/keys", Err: errno})
		got := Advise(err)
		if message := got.Error(); !strings.HasPrefix(message, err.Error()+": ") || !strings.Contains(message, want) {
			t.Errorf("%v: got %q, want the error with its path, and %q", errno, message, want)
		}
		if !errors.Is(got, errno) {
			t.Errorf("%v: got an error that does not wrap it", errno)
		}
		if sentence := adviceSentence(err); !strings.HasSuffix(sentence, ".") || strings.ToUpper(sentence[:1]) != sentence[:1] {
			t.Errorf("%v: got the finding's advice %q, want a sentence", errno, sentence)
		}
		fromText := fromBadger(errors.New("Unable to open log dir. Path=/keys. Error=" + (&fs.PathError{Op: "open", Path: "/keys", Err: errno}).Error()))
		equal(t, "whether "+errno.Error()+" is transient", isTransient(fromText), isTransient(errno))
	}
	other := errors.New("the record is damaged")
	equal(t, "another error", Advise(other), other)
}

// Every piece of advice has a row in the tables of "When it does not start".
func TestAdvise_documented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, cause := range causes {
		if !strings.Contains(string(text), "| `"+cause.advice+"` |") {
			t.Errorf("docs/operate.md has no row for %q", cause.advice)
		}
	}
}

// The error names the part of the path that is in the way, and nothing is created
// in its place.
func TestOpen_path(t *testing.T) {
	dir := t.TempDir()
	link := func(name, target string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dangling, loop := link("dangling", filepath.Join(dir, "unmounted")), link("loop", "loop")
	long := filepath.Join(dir, strings.Repeat("k", 300))
	for _, test := range []struct{ name, path, named, advice string }{
		{"a dangling link", dangling, dangling, fmt.Sprintf("is a symbolic link to %q, which does not exist: mount or create that directory, or correct the link", filepath.Join(dir, "unmounted"))},
		{"below a dangling link", filepath.Join(dangling, "keys"), dangling, "mount or create that directory, or correct the link"},
		{"a loop of links", loop, loop, "the path contains a loop of symbolic links: correct them"},
		{"below a loop of links", filepath.Join(loop, "keys"), loop, "the path contains a loop of symbolic links: correct them"},
		{"a name that is too long", long, long, "choose a shorter path"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := openFails(t, test.path); !strings.Contains(got, test.named) || !strings.HasSuffix(got, test.advice) {
				t.Errorf("got %q, want it to name %q and to advise %q", got, test.named, test.advice)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "unmounted")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link's target: got error %v, want it not to have been created", err)
	}
}

// A directory without a store may be somebody else's: nothing is created in it.
func TestOpen_foreignDirectory(t *testing.T) {
	for _, name := range []string{"notes.txt", "000001.sst.bak", ".DS_Store", "manifest", "._000001.sst"} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
			addOther(t, path, name)
			want := fmt.Sprintf("the directory contains %q, but no key store: give the path of your key store, or that of an empty directory for a new one", name)
			equal(t, "error", openFails(t, path), want)
			entries, err := os.ReadDir(path)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "entries", len(entries), 1)
			equal(t, "mode", modeOf(t, path), fs.FileMode(0o755))
		})
	}
}

func addOther(t *testing.T, path, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path, name), []byte("mine"), 0o400); err != nil {
		t.Fatal(err)
	}
}

// Files that a file manager or a network file system leaves next to a store do no
// harm: the store opens, and the log names them.
func TestOpen_foreignFilesNextToStore(t *testing.T) {
	db := populatedDB(t)
	path := db.Path()
	closeDB(t, db)
	others := []string{".DS_Store", "._000001.sst", "._MANIFEST", ".nfs000000000041d2f300000001", "000001.jpg"}
	for _, name := range others {
		addOther(t, path, name)
		addOther(t, filepath.Join(path, journalDirectory), name)
	}
	if err := os.Mkdir(filepath.Join(path, ".Trash-1000"), 0); err != nil { // readable only by root
		t.Fatal(err)
	}
	core, logged := observer.New(zapcore.WarnLevel)
	o := testOptions(path)
	o.Log = zap.New(core)
	db, err := openWith(o)
	if err != nil {
		t.Fatal(err)
	}
	lines := logged.FilterMessage("the key store's directory contains files that do not belong to it: they were left alone, and should be moved elsewhere").All()
	if len(lines) != 1 || lines[0].ContextMap()["path"] != path {
		t.Fatalf("got %d lines, want one that names the store", len(lines))
	}
	named := fmt.Sprint(lines[0].ContextMap()["files"])
	for _, name := range append(others, ".Trash-1000") {
		if !strings.Contains(named, name) {
			t.Errorf("got the files %s, want %s among them", named, name)
		}
	}
	mustCreate(t, db)
	if got := check(t, db); len(got) != 1 || !strings.HasPrefix(got["directory"], "warning: ") {
		t.Errorf("got the findings %q, want one warning about the directory", got)
	}
	closeDB(t, db)
	found, err := Examine(t.Context(), testOptions(path), checkContents)
	if err != nil {
		t.Fatal(err)
	}
	if got := wrong(found); len(got) != 1 || !strings.HasPrefix(got["directory"], "warning: ") {
		t.Errorf("closed: got the findings %q, want one warning about the directory", got)
	}
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			t.Errorf("%s: %v, want it left alone", name, err)
		}
	}
}

// Badger would take these for its own files, and fail.
func TestOpen_confusingNames(t *testing.T) {
	for _, name := range []string{"._000001.vlog", "copy of 00001.mem"} {
		t.Run(name, func(t *testing.T) {
			db := populatedDB(t)
			closeDB(t, db)
			before := listing(t, db.Path())
			addOther(t, db.Path(), name)
			want := fmt.Sprintf("the directory contains %q, which does not belong to the key store but is named like its files: move it out of the directory", name)
			equal(t, "error", openFails(t, db.Path()), want)
			if err := os.Remove(filepath.Join(db.Path(), name)); err != nil {
				t.Fatal(err)
			}
			equal(t, "the store's files afterwards", listing(t, db.Path()), before)
		})
	}
}

// A process that may open too few files says so, and does not take a file that it
// could not open for a damaged one.
func TestOpen_fewFiles(t *testing.T) {
	db := populatedDB(t)
	id := mustCreate(t, db)
	closeDB(t, db)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	refusals := 0
	for limit := 8; limit <= 60; limit += 3 {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n "$1" && exec "$0"`, binary, strconv.Itoa(limit))
		cmd.Env = testenv.ChildEnv(roleReport, db.Path())
		output, _ := cmd.CombinedOutput() // exits with an error if it cannot open the store
		out := string(output)
		if !strings.Contains(out, syscall.EMFILE.Error()) {
			continue
		}
		refusals++
		if !strings.Contains(out, "LimitNOFILE") {
			t.Errorf("with %d files: got %q, want advice", limit, out)
		}
	}
	if refusals < 8 {
		t.Errorf("got %d refusals, want some", refusals)
	}
	if damaged, err := filepath.Glob(filepath.Join(db.Path(), damagedDirectory+"*")); err != nil || len(damaged) > 0 {
		t.Errorf("got %q (%v), want no quarantined files", damaged, err)
	}
	db = open(t, db.Path())
	equal(t, "a record", statuses(t, db)[id], active)
	mustCreate(t, db)
}
