package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// Examine checks a store that no process has open, and keeps others from opening
// it meanwhile. It changes nothing: to open a store is to mend it, so what is
// opened is a copy, in the store's directory for as long as it takes.
func Examine(ctx context.Context, path string, now time.Time) (findings []apikey.Finding, err error) {
	s, err := closed(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.release()) }()
	findings = append(checkDirectory(s.path), s.checkSpace())
	damaged, err := s.examineFiles()
	if err != nil || len(damaged) > 0 {
		return append(findings, damaged...), err
	}
	copied, err := s.copyFiles()
	defer func() { err = errors.Join(err, os.RemoveAll(copied)) }()
	if err != nil {
		return nil, fmt.Errorf("the store is examined as a copy, which cannot be made beside it: %w. Copy its directory to another disk with cp -a, and examine that", err)
	}
	core, mended := observer.New(zapcore.WarnLevel)
	opened, err := Open(copied, zap.New(core), nil)
	if err != nil {
		reason := strings.ReplaceAll(errors.Unwrap(err).Error(), copied, s.path)
		return append(findings, fault("opening", "", "It cannot be opened: %s.", reason)), nil
	}
	for _, entry := range mended.All() {
		findings = append(findings, warning("opening", "Start the server: it does so too.", "To be opened, it had to be mended: %s.", entry.Message))
	}
	opened.Alone()
	found, err := opened.checkContents(ctx, now, []contentCheck{opened.checkJournal, opened.checkTables, opened.checkRecords})
	return append(findings, found...), errors.Join(err, opened.Close())
}

// copyFiles copies the store into a directory in its own, and returns it. It does
// not link what is never written to again: Badger empties a table before it
// deletes it, by whichever name.
func (s *Store) copyFiles() (to string, err error) {
	if err := s.roomForCopy(); err != nil {
		return "", err
	}
	if to, err = os.MkdirTemp(s.path, "*"+spooled); err != nil {
		return "", err
	}
	for _, directory := range []string{".", journalDirectory, straysDirectory} {
		copyErr := copyInto(filepath.Join(to, directory), filepath.Join(s.path, directory), directory == ".")
		if !errors.Is(copyErr, os.ErrNotExist) || directory == "." {
			err = errors.Join(err, copyErr)
		}
	}
	return to, err
}

// roomForCopy refuses to fill the disk.
func (s *Store) roomForCopy() error {
	var needed uint64
	for _, directory := range []string{s.path, s.journalPath(), filepath.Join(s.path, straysDirectory)} {
		entries, _ := os.ReadDir(directory) // a directory that cannot be read is not copied either
		for _, entry := range entries {
			if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
				needed += uint64(info.Size())
			}
		}
	}
	free, err := freeBytes(s.path)
	if err == nil && free < needed+s.minFree {
		err = fmt.Errorf("its disk needs %d MiB of room for it, and has %d MiB", (needed+s.minFree)>>20, free>>20)
	}
	return err
}

// copyInto copies the files of a directory, but not its directories; of the top one,
// the store's alone.
func copyInto(to, from string, top bool) error {
	entries, err := os.ReadDir(from)
	if err == nil {
		err = os.MkdirAll(to, 0o700)
	}
	for _, entry := range entries {
		if err != nil {
			return err
		}
		source, target := filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())
		if entry.Type().IsRegular() && filepath.Ext(entry.Name()) != spooled && (!top || ours(entry)) {
			err = copyFile(target, source)
		}
	}
	return err
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// closed returns a store that was not opened, and refuses a directory in which
// there is none.
func closed(path string) (*Store, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: absolute, log: zap.NewNop(), minFree: minFree, reserve: reserve, walks: newWalks(), versions: newVersions()}
	if _, err := os.ReadDir(absolute); err != nil {
		return nil, advise(err)
	}
	if !journal.Exists(s.journalPath()) && !badgerIn(absolute) {
		return nil, fmt.Errorf("there is no key store in %q", absolute)
	}
	return s, nil
}

// examineFiles says what is wrong with the files of a closed store. It keeps its
// journal open, so that nobody else opens the store.
func (s *Store) examineFiles() (damaged []apikey.Finding, err error) {
	var torn error
	if journal.Exists(s.journalPath()) {
		tail, err := s.openJournal()
		if tail != nil && tail.Torn != nil {
			torn = tail.Torn
		}
		if errors.Is(err, journal.ErrLocked) {
			return nil, s.explainJournal(err)
		}
		if err != nil {
			damaged = append(damaged, fault("journal", "", "%v.", s.explainJournal(err)))
		}
	}
	if s.journal != nil {
		if err := s.readSnapshot(context.Background()); err != nil {
			damaged = append(damaged, fault("snapshot", "Start the server: where the store's other files are whole, it makes another snapshot.", "%v.", err))
		}
	}
	switch _, err := s.inspectReadable(); {
	case err == nil:
	case passing(err):
		return damaged, advise(err)
	case len(damaged) > 0 || torn != nil:
		damaged = append(damaged, fault("files", "Restore a backup into an empty directory: the files cannot be built anew from a journal that is damaged too.",
			"Files of the store are damaged: %v.", errors.Join(err, torn)))
	default:
		damaged = append(damaged, fault("files", "Start the server: it builds the files anew from the journal, and keeps the damaged ones aside.", "Files of the store are damaged: %v.", err))
	}
	return damaged, nil
}

// NewJournal begins a new journal from what is in a closed store, and returns
// where the old one is kept. It is for an operator who knows that the store has
// all that was acknowledged, or that there is nothing better: nothing proves it.
// What the old journal has before its damage is in the store afterwards. A
// journal that is whole is not given up.
func NewJournal(path string, now time.Time) (kept string, err error) {
	s, err := closed(path)
	if err != nil {
		return "", err
	}
	if err := Owned(s.path); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.release()) }()
	if s.rebuilding() {
		return "", errors.New("there is nothing to begin a journal from, for building the files of the store anew was interrupted: start the server, which goes on with it. If it cannot, restore a backup into an empty directory")
	}
	files, err := s.inspectReadable()
	if err != nil {
		return "", fmt.Errorf("there is nothing to begin a journal from, for the files of the store are damaged too: %w. Restore a backup into an empty directory", err)
	}
	if name := emptyFile(s.path); name != "" {
		return "", fmt.Errorf("there is nothing to begin a journal from, for the file %q of the store is empty. Restore a backup into an empty directory", name)
	}
	lost, err := s.openOn(files)
	if err != nil {
		return "", explain(s.path, err)
	}
	if err := s.provable(files, lost); err != nil {
		return "", err
	}
	if _, err := s.schema(); err != nil {
		return "", err
	}
	if err := s.salvage(); err != nil {
		return "", err
	}
	kept, err = s.keepJournal(now)
	if err != nil {
		return "", err
	}
	return kept, s.newJournal(now)
}

// salvage makes again what the journal has before its damage, and Badger's files
// have not.
func (s *Store) salvage() error {
	tail, base, end, damage := journal.Salvage(s.journalPath())
	has, err := s.marks()
	switch {
	case err != nil:
		return err
	case tail == nil || has.position.Number > end.Number: // and what it has is older
		return nil
	case has.position.Number < base.Number:
		return fmt.Errorf("the files of the store have the changes up to %d, and the snapshot of its journal those up to %d: there is nothing to begin a journal from. Restore a backup into an empty directory", has.position.Number, base.Number)
	case has.position != base && has.position != tail.Positions[has.position.Number]: // it is another store's
		return nil
	case damage == nil:
		return errors.New("its journal is whole, and proves more than what could be begun now: start the server")
	}
	missing, err := s.missing(tail.InOrder())
	if err != nil {
		return err
	}
	return s.rewrite(missing)
}

// provable refuses Badger's files where it can be seen, without a journal, that
// they have lost something.
func (s *Store) provable(files *inspected, lost bool) error {
	has, err := s.marks()
	if err != nil {
		return err
	}
	if lost || files.predate(&has.base) || has.base.Number > 0 && !has.base.Footprint.leadsTo(files) {
		return errors.New("there is nothing to begin a journal from, for the files of the store are not those that it had: its manifest is cut off, or some are older than others. Restore a backup into an empty directory")
	}
	return nil
}

// keepJournal moves the journal aside, if there is any.
func (s *Store) keepJournal(now time.Time) (kept string, err error) {
	if !journal.Exists(s.journalPath()) {
		return "", nil
	}
	if kept, err = s.aside(now); err != nil {
		return "", err
	}
	return kept, os.Rename(s.journalPath(), filepath.Join(kept, journalDirectory))
}
