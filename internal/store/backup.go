package store

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/klauspost/compress/zstd"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A backup is lines of JSON, compressed with zstd: what it is and when it was
// made, then a line for each record of the store, and at last how many lines
// came before, what their SHA-256 is and, where the gateway has a key for it, their
// HMAC. Records are those of the schema, not
// Badger's, so that a later version can read them whatever its store is like.
// Indexes and counts are not in it: they follow from the records.
const backupVersion = 1

// backupLine is one line: one of its fields is set.
type backupLine struct {
	Begin      *backupBegin      `json:"caddy_api_keys_backup,omitempty"`
	Key        *keyRecord        `json:"key,omitempty"`
	Use        *useRecord        `json:"use,omitempty"`
	Suspension *suspensionRecord `json:"suspension,omitempty"`
	Event      *eventRecord      `json:"event,omitempty"`
	Feed       *feedRecord       `json:"feed,omitempty"`
	EndedFeed  []byte            `json:"ended_feed,omitempty"` // the digest of its token
	End        *backupEnd        `json:"end,omitempty"`

	size int // of the line, in bytes
}

type backupBegin struct {
	Version int    `json:"version"`
	MadeAt  millis `json:"made_at"`
}

type backupEnd struct {
	Lines  int    `json:"lines"`
	SHA256 string `json:"sha256"`
	// HMAC is the HMAC-SHA-256 of the same lines, where the gateway has a key.
	HMAC string `json:"hmac_sha256,omitempty"`
}

// useRecord is when and from where a key was used last, and when for the first
// time.
type useRecord struct {
	KeyID string `json:"key_id"`
	Last  millis `json:"last"`
	From  string `json:"from,omitempty"`
	First millis `json:"first,omitzero"`
}

type suspensionRecord struct {
	WorkspaceID string `json:"workspace_id"`
	workspaceRecord
}

// Backup returns all that is in the store at one instant, from the first byte of
// a file that nobody else sees and that is gone when it is closed. Changes go on
// meanwhile. The file is on the disk of the store, or, where that is full or gone,
// in the directory for temporary files: what can be read can be saved.
func (s *Store) Backup(ctx context.Context, now time.Time) (io.ReadSeekCloser, error) {
	if s == nil {
		return nil, apikey.ErrStoreUnavailable
	}
	if err := s.Ping(); err != nil {
		return nil, err
	}
	if s.writable() == nil {
		if file, err := s.spool(); err == nil {
			content, err := s.backUp(ctx, file, &spaceWatcher{s, file}, now)
			if !errors.Is(err, apikey.ErrNoSpace) {
				return content, err
			}
		}
	}
	file, err := spoolIn(os.TempDir())
	if err != nil {
		return nil, s.refine(err)
	}
	return s.backUp(ctx, file, file, now)
}

// backUp writes a backup to a file, or closes it.
func (s *Store) backUp(ctx context.Context, file *os.File, to io.Writer, now time.Time) (io.ReadSeekCloser, error) {
	err := s.view(func(txn *badger.Txn) error {
		err := s.writeBackup(ctx, txn, to, now)
		_, seekErr := file.Seek(0, io.SeekStart)
		return errors.Join(err, seekErr)
	})
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// spooled is how files are called that hold a backup for a while. One that a
// crash has left is removed when the store is opened.
const spooled = ".spool"

// spool returns a new file on the disk of the store, already without a name.
func (s *Store) spool() (*os.File, error) { return spoolIn(s.path) }

func spoolIn(directory string) (*os.File, error) {
	file, err := os.CreateTemp(directory, "*"+spooled)
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}

func (s *Store) writeBackup(ctx context.Context, txn reader, to io.Writer, now time.Time) error {
	compressed, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	w := newLineWriter(s.pacer(ctx), s.signingKey(), compressed)
	err = errors.Join(
		w.write(backupLine{Begin: &backupBegin{Version: backupVersion, MadeAt: toMillis(now)}}),
		w.records(txn),
		w.end(),
	)
	return errors.Join(err, compressed.Close())
}

// spaceWatcher writes as long as the disk has room for what matters more.
type spaceWatcher struct {
	store *Store
	to    io.Writer
}

func (w *spaceWatcher) Write(b []byte) (int, error) {
	if w.store.spareSpace() != nil {
		return 0, apikey.ErrNoSpace
	}
	return w.to.Write(b)
}

// lineWriter writes the lines of a backup.
type lineWriter struct {
	pacer *pacer
	to    *bufio.Writer
	sums  sums
	lines int

	line, record []byte // used again for each
}

func newLineWriter(pacer *pacer, key apikey.BackupKey, to io.Writer) *lineWriter {
	return &lineWriter{pacer: pacer, to: bufio.NewWriterSize(to, 256<<10), sums: newSums(key)}
}

func (w *lineWriter) write(line backupLine) error {
	encoded, err := json.Marshal(line)
	if err != nil {
		return err
	}
	return w.put(encoded)
}

// put writes a line, and rests now and then.
func (w *lineWriter) put(line []byte) error {
	if err := w.pacer.step(); err != nil {
		return err
	}
	w.line = append(append(w.line[:0], line...), '\n')
	w.lines++
	w.sums.add(w.line)
	_, err := w.to.Write(w.line)
	return err
}

// copy writes a record as it is in the store, without reading it.
func (w *lineWriter) copy(name string, item *badger.Item) error {
	return item.Value(func(record []byte) error {
		if !json.Valid(record) {
			return fmt.Errorf("the record %q is damaged", item.Key())
		}
		w.record = fmt.Appendf(w.record[:0], `{%q:%s}`, name, record)
		return w.put(w.record)
	})
}

// end writes the last line, which is not part of the sums.
func (w *lineWriter) end() error {
	last := w.sums.end(w.lines)
	return errors.Join(w.write(backupLine{End: &last}), w.to.Flush())
}

// records writes every record. Keys come in the order in which they were made,
// so that one comes before its replacement.
func (w *lineWriter) records(txn reader) error {
	return errors.Join(
		each(txn, []byte("k/"), func(item *badger.Item) error { return w.copy("key", item) }),
		w.uses(txn),
		each(txn, []byte("s/"), func(item *badger.Item) error {
			r := suspensionRecord{WorkspaceID: string(item.Key()[len("s/")+1:])}
			if err := decode(item, &r.workspaceRecord); err != nil {
				return err
			}
			return w.write(backupLine{Suspension: &r})
		}),
		each(txn, eventKey(""), func(item *badger.Item) error { return w.copy("event", item) }),
		each(txn, []byte("g/"), func(item *badger.Item) error { return w.copy("feed", item) }),
		each(txn, []byte("f/"), func(item *badger.Item) error {
			if item.ValueSize() > 0 { // it is open, and was written above
				return nil
			}
			return w.write(backupLine{EndedFeed: item.Key()[len("f/"):]})
		}),
	)
}

// uses writes when each key was used. First uses are in the order of last ones.
func (w *lineWriter) uses(txn reader) error {
	firsts := newCursor(txn, firstUsedKey(""))
	defer firsts.close()
	return each(txn, lastUsedKey(""), func(item *badger.Item) error {
		id := string(item.Key()[len(lastUsedKey("")):])
		last, err := noteIn(item)
		if err != nil || last.At.IsZero() {
			return err
		}
		use := useRecord{KeyID: id, Last: toMillis(last.At), From: last.From}
		if item := firsts.at(firstUsedKey(id)); item != nil {
			first, err := noteIn(item)
			if err != nil {
				return err
			}
			use.First = toMillis(first.At)
		}
		return w.write(backupLine{Use: &use})
	})
}

// errDamaged says in which line a backup is damaged, and how.
func errDamaged(line int, format string, args ...any) error {
	return &apikey.Error{Code: apikey.ErrInvalidBackup.Code, Message: fmt.Sprintf(
		"This is not a whole and undamaged backup, and nothing was changed: in line %d of what zstd makes of it, "+format+".", append([]any{line}, args...)...,
	)}
}
