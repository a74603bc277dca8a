//go:build darwin || freebsd

package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Who can write to the directory of a link can replace it after its owner was looked at, unless
// the directory is sticky.
func TestReadLink_inDirectoryOfOthers(t *testing.T) {
	for _, test := range []struct {
		name   string
		mode   fs.FileMode
		follow bool
	}{
		{"nobody else", 0o755, true},
		{"the group", 0o775, false},
		{"everybody", 0o757, false},
		{"everybody, their own", 0o777 | fs.ModeSticky, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			link := filepath.Join(dir, "link")
			if err := errors.Join(os.Symlink("backup", link), os.Chmod(dir, test.mode)); err != nil {
				t.Fatal(err)
			}
			target, isLink, err := readLink(link)
			if follows := target == "backup" && isLink && err == nil; follows != test.follow || !follows && err == nil {
				t.Errorf("got %q, %t and error %v, want it followed: %t", target, isLink, err, test.follow)
			}
			if _, isLink, err := readLink(filepath.Join(dir, "none")); isLink || err != nil {
				t.Errorf("what is not there: got %t and error %v, want no link", isLink, err)
			}
		})
	}
}
