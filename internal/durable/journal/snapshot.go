package journal

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A snapshot begins with this header and its position. The rest is a zstd stream:
// for each key, the length of the key, the key, the length of the value and the
// value; then a length of 0, and the SHA-256 over the header and the uncompressed
// stream so far. No key is empty.
const snapshotMagic = "caddy-api-keys snapshot 1\n"

// windowSize is how far back a snapshot refers to what it repeats. With the default of
// 4 MiB it would be as large, and the writer would need 8 MB for that.
const windowSize = 1 << 20

var errSnapshot = errors.New("it does not match its checksum")

// SnapshotWriter writes a snapshot. Until it is committed, entries may be appended
// to the journal.
type SnapshotWriter struct {
	journal    *Journal
	position   Position
	before     int64 // size of the segments that it makes obsolete
	file       *os.File
	compressed *zstd.Encoder
	to         *bufio.Writer
	sum        hash.Hash
}

// Snapshot starts a snapshot of what the store holds now, through wrap around the
// file's writer. The caller ends it with Commit or Discard. The journal must not be
// empty.
func (j *Journal) Snapshot(wrap func(io.Writer) io.Writer) (*SnapshotWriter, error) {
	if j.broken != nil {
		return nil, j.broken
	}
	if err := j.rotate(); err != nil {
		return nil, err
	}
	path := filepath.Join(j.dir, fileName(j.end.Number, snapshotSuffix)) + temporarySuffix
	opened, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	w := &SnapshotWriter{journal: j, position: j.end, before: j.before, file: opened, sum: sha256.New()}
	header := appendPosition([]byte(snapshotMagic), w.position)
	_, _ = w.sum.Write(header)
	if _, err := opened.Write(header); err != nil {
		return nil, errors.Join(err, w.Discard())
	}
	w.compressed, err = zstd.NewWriter(wrap(opened), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(windowSize))
	if err != nil {
		return nil, errors.Join(err, w.Discard())
	}
	w.to = bufio.NewWriterSize(io.MultiWriter(w.compressed, w.sum), 256<<10)
	return w, nil
}

// rotate starts a new segment, unless the last one is still empty.
func (j *Journal) rotate() error {
	if j.size == int64(len(segmentMagic)+positionSize) {
		return nil
	}
	return j.startSegment(j.end)
}

// Write adds a key and its value.
func (w *SnapshotWriter) Write(key, value []byte) error {
	for _, part := range [...][]byte{key, value} {
		if _, err := w.to.Write(binary.AppendUvarint(w.to.AvailableBuffer(), uint64(len(part)))); err != nil {
			return err
		}
		if _, err := w.to.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// Finish writes the end of the snapshot, and syncs it.
func (w *SnapshotWriter) Finish() error {
	if err := errors.Join(w.to.WriteByte(0), w.to.Flush()); err != nil {
		return err
	}
	if _, err := w.compressed.Write(w.sum.Sum(nil)); err != nil {
		return err
	}
	return errors.Join(w.compressed.Close(), w.file.Sync())
}

// Commit makes a finished snapshot the base of the journal, and removes the files
// that it makes obsolete. No entry may be appended while it runs.
func (w *SnapshotWriter) Commit() error {
	j := w.journal
	if err := publish(w.file, filepath.Join(j.dir, fileName(w.position.Number, snapshotSuffix))); err != nil {
		return err
	}
	j.base, j.before, j.since = w.position, j.before-w.before, time.Time{}
	files, err := list(j.dir)
	if err != nil {
		return err
	}
	return files.removeObsolete(j.base)
}

// Discard abandons the snapshot and removes its file.
func (w *SnapshotWriter) Discard() error {
	if w.compressed != nil {
		w.compressed.Reset(nil)
	}
	return errors.Join(w.file.Close(), os.Remove(w.file.Name()))
}

// SnapshotSize returns the size of the snapshot's file, in bytes, or 0 without one.
func (j *Journal) SnapshotSize() int64 {
	info, err := os.Stat(j.snapshotPath())
	if err != nil {
		return 0
	}
	return info.Size()
}

func (j *Journal) snapshotPath() string {
	return filepath.Join(j.dir, fileName(j.base.Number, snapshotSuffix))
}

// Snapshot is a snapshot opened for reading. It stays readable when a newer one
// replaces it.
type Snapshot struct {
	file     *os.File // nil if there is none, which reads as empty
	position Position
}

// OpenSnapshot opens the current snapshot for reading. The caller closes it.
func (j *Journal) OpenSnapshot() (*Snapshot, error) {
	if j.base.Number == 0 {
		return &Snapshot{}, nil
	}
	opened, err := os.Open(j.snapshotPath())
	if err != nil {
		return nil, err
	}
	return &Snapshot{opened, j.base}, nil
}

// Close closes the snapshot.
func (s *Snapshot) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Read calls visit with each key and value, which are valid only during the call.
// Only when Read has returned nil is the snapshot known to be intact; it fails with
// a [*Damage] if it is not.
func (s *Snapshot) Read(visit func(key, value []byte) error) error {
	if s.file == nil {
		return nil
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	switch p, err := readHeader(s.file, snapshotMagic); {
	case err != nil:
		return s.damage(err)
	case p != s.position:
		return s.damage(errSnapshot)
	}
	decompressed, err := zstd.NewReader(s.file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return s.damage(err)
	}
	defer decompressed.Close()
	r := snapshotReader{in: bufio.NewReaderSize(decompressed, 256<<10), sum: sha256.New()}
	_, _ = r.sum.Write(appendPosition([]byte(snapshotMagic), s.position))
	for {
		key, value, err := r.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return s.damage(err)
		}
		if err := visit(key, value); err != nil {
			return err
		}
	}
}

func (s *Snapshot) damage(err error) error {
	return &Damage{File: s.file.Name(), Next: 1, Reason: err.Error()}
}

type snapshotReader struct {
	in         *bufio.Reader
	sum        hash.Hash
	key, value []byte
}

// next returns the next key and value, or io.EOF after the last one.
func (r *snapshotReader) next() (key, value []byte, err error) {
	if r.key, err = r.readPart(r.key); err != nil {
		return nil, nil, err
	}
	if len(r.key) == 0 {
		return nil, nil, r.checkSum()
	}
	r.value, err = r.readPart(r.value)
	return r.key, r.value, err
}

func (r *snapshotReader) readPart(into []byte) ([]byte, error) {
	n, err := binary.ReadUvarint(r.in)
	if err != nil || n > maxPayload {
		return nil, errSnapshot
	}
	if uint64(cap(into)) < n {
		into = make([]byte, n)
	}
	into = into[:n]
	if _, err := io.ReadFull(r.in, into); err != nil {
		return nil, errSnapshot
	}
	_, _ = r.sum.Write(binary.AppendUvarint(nil, n))
	_, _ = r.sum.Write(into)
	return into, nil
}

// checkSum reads the sum, which must be the last thing in the file.
func (r *snapshotReader) checkSum() error {
	var sum [sha256.Size]byte
	if _, err := io.ReadFull(r.in, sum[:]); err != nil || string(sum[:]) != string(r.sum.Sum(nil)) {
		return errSnapshot
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		return errSnapshot
	}
	return io.EOF
}
