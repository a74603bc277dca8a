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

// A snapshot begins with what it is and its position. The rest is compressed
// with zstd: the length of a key, the key, the length of its value and the
// value, for each key; and after the last one a length of 0 and the SHA-256 of
// all that came before, as it was before it was compressed. No key is empty.
const snapshotMagic = "caddy-api-keys snapshot 1\n"

// SnapshotWriter writes a snapshot. Entries may be appended to the journal
// meanwhile.
type SnapshotWriter struct {
	journal    *Journal
	position   Position
	before     int64 // bytes of entries up to the position
	file       *os.File
	compressed *zstd.Encoder
	to         *bufio.Writer
	sum        hash.Hash
}

// Snapshot begins a snapshot of what the store holds now. to wraps the file that
// it is written to. It ends with Commit or Discard. There must be an entry.
func (j *Journal) Snapshot(to func(io.Writer) io.Writer) (*SnapshotWriter, error) {
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
	w.compressed, err = zstd.NewWriter(to(opened), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, errors.Join(err, w.Discard())
	}
	w.to = bufio.NewWriterSize(io.MultiWriter(w.compressed, w.sum), 256<<10)
	return w, nil
}

// rotate begins a segment, unless the last one has no entry yet.
func (j *Journal) rotate() error {
	if j.size == int64(len(segmentMagic)+positionSize) {
		return nil
	}
	return j.begin(j.end)
}

// Write adds a key and its value.
func (w *SnapshotWriter) Write(key, value []byte) error {
	var lengths [binary.MaxVarintLen64]byte
	for _, part := range [][]byte{key, value} {
		if _, err := w.to.Write(binary.AppendUvarint(lengths[:0], uint64(len(part)))); err != nil {
			return err
		}
		if _, err := w.to.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// Finish writes the end of the snapshot, and brings all of it to the disk.
func (w *SnapshotWriter) Finish() error {
	if err := errors.Join(w.to.WriteByte(0), w.to.Flush()); err != nil {
		return err
	}
	if _, err := w.compressed.Write(w.sum.Sum(nil)); err != nil {
		return err
	}
	return errors.Join(w.compressed.Close(), w.file.Sync())
}

// Commit makes a finished snapshot the base of the journal, and removes what it
// makes superfluous. No entry may be appended meanwhile.
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
	return files.removeBefore(j.base)
}

// Discard removes what was written of the snapshot.
func (w *SnapshotWriter) Discard() error {
	if w.compressed != nil {
		w.compressed.Reset(nil)
	}
	return errors.Join(w.file.Close(), os.Remove(w.file.Name()))
}

// SnapshotSize returns how large the snapshot is, in bytes.
func (j *Journal) SnapshotSize() int64 {
	info, err := os.Stat(j.snapshotPath()) // none before the first
	if err != nil {
		return 0
	}
	return info.Size()
}

func (j *Journal) snapshotPath() string {
	return filepath.Join(j.dir, fileName(j.base.Number, snapshotSuffix))
}

// Snapshot is a snapshot that was opened for reading. Another one may take its
// place meanwhile.
type Snapshot struct {
	file     *os.File // nil for the one before the first entry, which is empty
	position Position
}

// OpenSnapshot opens the present snapshot, to be read and closed.
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

// Read calls visit for each key of the snapshot and its value, which are only
// valid until it returns. That the snapshot is whole is known when Read has
// returned: it fails with a [*Damage] if not.
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
		return s.damage(errEntry)
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

// next returns the next key and its value, or io.EOF after the last one.
func (r *snapshotReader) next() (key, value []byte, err error) {
	if r.key, err = r.part(r.key); err != nil {
		return nil, nil, err
	}
	if len(r.key) == 0 {
		return nil, nil, r.end()
	}
	r.value, err = r.part(r.value)
	return r.key, r.value, err
}

func (r *snapshotReader) part(into []byte) ([]byte, error) {
	n, err := binary.ReadUvarint(r.in)
	if err != nil || n > maxPayload {
		return nil, errEntry
	}
	if uint64(cap(into)) < n {
		into = make([]byte, n)
	}
	into = into[:n]
	if _, err := io.ReadFull(r.in, into); err != nil {
		return nil, errEntry
	}
	_, _ = r.sum.Write(binary.AppendUvarint(nil, n))
	_, _ = r.sum.Write(into)
	return into, nil
}

// end reads the sum, after which there must be nothing.
func (r *snapshotReader) end() error {
	var sum [sha256.Size]byte
	if _, err := io.ReadFull(r.in, sum[:]); err != nil || string(sum[:]) != string(r.sum.Sum(nil)) {
		return errEntry
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		return errEntry
	}
	return io.EOF
}
