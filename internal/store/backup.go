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

	"github.com/klauspost/compress/zstd"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// A backup consists of lines of JSON, compressed with zstd: a header that says what it
// is and when it was made; a line for each record of the store; and at the end the
// number of lines, their SHA-256 and, if the gateway has a key for it, their HMAC.
// Records are those of the schema rather than Badger's, so that later versions can read
// them even if their stores are different. Indexes and counts are left out, because
// they follow from the records.
const backupVersion = 1

// windowSize is how far back a backup refers to what it repeats. With the default of 4 MiB
// it would be as large, and take 8 MB of memory to write and 5 to read.
const windowSize = 1 << 20

// backupLine is one line. One of its fields is set, not counting EndedAt.
type backupLine struct {
	Begin      *backupBegin      `json:"caddy_api_keys_backup,omitempty"`
	Key        *keyRecord        `json:"key,omitempty"`
	Use        *useRecord        `json:"use,omitempty"`
	Suspension *suspensionRecord `json:"suspension,omitempty"`
	Event      *eventRecord      `json:"event,omitempty"`
	Feed       *feedRecord       `json:"feed,omitempty"`
	EndedFeed  []byte            `json:"ended_feed,omitempty"` // the digest of its token
	EndedAt    millis            `json:"ended_at,omitzero"`    // of EndedFeed; early backups do not have it
	Tombstone  []byte            `json:"tombstone,omitempty"`  // the digest of the token
	Forgotten  *forgotten        `json:"forgotten,omitempty"`
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
	// HMAC is the HMAC-SHA-256 of the same lines, if the gateway has a key.
	HMAC string `json:"hmac_sha256,omitempty"`
}

// useRecord says when a key was first used, and when and from where it was last used.
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

// Backup returns the contents of the store as of one instant, in a file that is at its
// beginning, has no name, and disappears when it is closed. Changes can be made in the
// meantime. The file is on the store's disk or, if that is full or gone, in the
// directory for temporary files: whatever can be read can be saved. A replica that is not
// whole is refused: see isWhole.
func (s *Store) Backup(ctx context.Context, now time.Time) (io.ReadSeekCloser, error) {
	if err := s.Ping(); err != nil {
		return nil, err
	}
	if file, err := s.db.Spool(); err == nil {
		content, err := s.backUp(ctx, file, s.db.WhileSpace(file), now)
		if !errors.Is(err, apikey.ErrNoSpace) {
			return content, err
		}
	}
	file, err := durable.SpoolIn(os.TempDir())
	if err != nil {
		return nil, s.wrapInternal(err)
	}
	return s.backUp(ctx, file, file, now)
}

// backUp writes a backup to a file. If that fails, it closes the file.
func (s *Store) backUp(ctx context.Context, file *os.File, to io.Writer, now time.Time) (io.ReadSeekCloser, error) {
	err := s.view(func(txn *durable.Txn) error {
		if err := isWhole(txn); err != nil {
			return err
		}
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

func (s *Store) writeBackup(ctx context.Context, txn *durable.Txn, to io.Writer, now time.Time) error {
	compressed, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(windowSize))
	if err != nil {
		return err
	}
	w := newLineWriter(s.db.Pacer(ctx), s.signingKey(), compressed)
	err = errors.Join(
		w.write(backupLine{Begin: &backupBegin{Version: backupVersion, MadeAt: toMillis(now)}}),
		w.records(txn),
		w.end(),
	)
	return errors.Join(err, compressed.Close())
}

// lineWriter writes the lines of a backup.
type lineWriter struct {
	pacer *durable.Pacer
	to    *bufio.Writer
	sums  sums
	lines int

	line, record []byte // buffers
}

func newLineWriter(pacer *durable.Pacer, key apikey.BackupKey, to io.Writer) *lineWriter {
	return &lineWriter{pacer: pacer, to: bufio.NewWriterSize(to, 256<<10), sums: newSums(key)}
}

func (w *lineWriter) write(line backupLine) error {
	encoded, err := json.Marshal(line)
	if err != nil {
		return err
	}
	return w.put(encoded)
}

// put writes a line, and pauses now and then.
func (w *lineWriter) put(line []byte) error {
	if err := w.pacer.Step(); err != nil {
		return err
	}
	w.line = append(append(w.line[:0], line...), '\n')
	w.lines++
	w.sums.add(w.line)
	_, err := w.to.Write(w.line)
	return err
}

// copy writes a record as it is in the store, without decoding it.
func (w *lineWriter) copy(name string, key, record []byte) error {
	if !json.Valid(record) {
		return fmt.Errorf("the record %q is damaged", key)
	}
	w.record = fmt.Appendf(w.record[:0], `{%q:%s}`, name, record)
	return w.put(w.record)
}

// end writes the last line, which the sums do not cover.
func (w *lineWriter) end() error {
	last := w.sums.end(w.lines)
	return errors.Join(w.write(backupLine{End: &last}), w.to.Flush())
}

// records writes all records. Keys are in the order of their creation, so each comes
// before its replacement.
func (w *lineWriter) records(txn *durable.Txn) error {
	return errors.Join(
		each(txn, []byte("k/"), func(key, value []byte) error { return w.copy("key", key, value) }),
		w.uses(txn),
		each(txn, []byte("s/"), func(key, value []byte) error {
			r := suspensionRecord{WorkspaceID: string(key[len("s/")+1:])}
			if err := decode(key, value, &r.workspaceRecord); err != nil {
				return err
			}
			return w.write(backupLine{Suspension: &r})
		}),
		each(txn, eventKey(""), func(key, value []byte) error { return w.copy("event", key, value) }),
		each(txn, []byte("g/"), func(key, value []byte) error { return w.copy("feed", key, value) }),
		each(txn, []byte(feedPrefix), func(key, value []byte) error {
			var state feedState
			if err := decode(key, value, &state); err != nil || state.EndedAt == 0 { // open ones are written above
				return err
			}
			return w.write(backupLine{EndedFeed: key[len(feedPrefix):], EndedAt: state.EndedAt})
		}),
		w.tombstones(txn),
		w.forgotten(txn),
	)
}

// forgotten writes what the store has deleted. It comes last, because it concerns the
// records of older backups, not those above.
func (w *lineWriter) forgotten(txn reader) error {
	f, err := loadForgotten(txn)
	if err != nil || f == (forgotten{}) {
		return err
	}
	return w.write(backupLine{Forgotten: &f})
}

// uses writes when each key was first and last used. Both indexes are in the same
// order.
func (w *lineWriter) uses(txn *durable.Txn) error {
	firsts := txn.Cursor(firstUsedKey(""))
	defer firsts.Close()
	return each(txn, lastUsedKey(""), func(key, value []byte) error {
		id := string(key[len(lastUsedKey("")):])
		last := noteIn(value)
		if last.At.IsZero() {
			return nil
		}
		use := useRecord{KeyID: id, Last: toMillis(last.At), From: last.From}
		if value, found := firsts.At(firstUsedKey(id)); found {
			use.First = toMillis(noteIn(value).At)
		}
		return w.write(backupLine{Use: &use})
	})
}

// errNoBackup refuses a file that does not begin as a backup does.
var errNoBackup = &apikey.Error{Code: apikey.ErrInvalidBackup.Code, Message: "This is not a backup, or its beginning is damaged. Nothing was changed."}

// errDamaged names the line in which a backup is damaged, and how.
func errDamaged(line int, format string, args ...any) error {
	return &apikey.Error{Code: apikey.ErrInvalidBackup.Code, Message: fmt.Sprintf(
		"This backup is damaged or incomplete, and nothing was changed: line %d of the decompressed backup is invalid: "+format+".", append([]any{line}, args...)...,
	)}
}
