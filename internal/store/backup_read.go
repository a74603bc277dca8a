package store

import (
	"bufio"
	"errors"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

const (
	// maxLine is more than the size of any record.
	maxLine = 1 << 20
	// maxRatio limits the ratio of a backup's decompressed size to its own. Ids and
	// digests in records do not compress.
	maxRatio = 256
	// anyRatio is the decompressed size up to which the ratio does not matter.
	anyRatio = 64 << 20
)

// recordKind is the kind of record in a line.
type recordKind int

const (
	noKind recordKind = iota // none that this version knows, or several
	keyKind
	useKind
	suspensionKind
	eventKind
	feedKind
	endedFeedKind
	tombstoneKind
	forgottenKind
	lastKind = forgottenKind
)

func (l *backupLine) kind() (kind recordKind) {
	for of, there := range [...]bool{
		keyKind: l.Key != nil, useKind: l.Use != nil, suspensionKind: l.Suspension != nil,
		eventKind: l.Event != nil, feedKind: l.Feed != nil, endedFeedKind: l.EndedFeed != nil,
		tombstoneKind: l.Tombstone != nil, forgottenKind: l.Forgotten != nil,
	} {
		switch {
		case !there:
		case kind != noKind:
			return noKind
		default:
			kind = recordKind(of)
		}
	}
	return kind
}

// readBackup calls visit for each record of a backup, with its line number, and returns
// when the backup was made and whether it is signed. It fails with
// [apikey.ErrInvalidBackup] if the backup has been altered or, unless key is zero, was
// not signed with key.
func readBackup(pacer *durable.Pacer, key apikey.BackupKey, from io.Reader, visit func(n int, line *backupLine) error) (madeAt time.Time, signed bool, err error) {
	compressed := &counter{from: from}
	decompressed, err := zstd.NewReader(compressed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return time.Time{}, false, err
	}
	defer decompressed.Close()
	r := &backupReader{in: bufio.NewReaderSize(decompressed, 256<<10), compressed: compressed, sums: newSums(key), pacer: pacer}
	for {
		line, err := r.next()
		switch {
		case err != nil:
			return time.Time{}, false, err
		case r.n == 1:
			madeAt, err = line.madeAt()
		case line.End != nil:
			return madeAt, line.End.HMAC != "", r.end(line.End)
		default:
			err = visit(r.n, line)
		}
		if err != nil {
			return time.Time{}, false, err
		}
		r.sums.add(r.encoded)
	}
}

// counter counts the bytes that are read.
type counter struct {
	from io.Reader
	n    int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.n += int64(n)
	return n, err
}

// backupReader reads a backup line by line.
type backupReader struct {
	in         *bufio.Reader
	compressed *counter
	sums       sums
	n          int    // the number of the line
	encoded    []byte // the line
	total      int64  // bytes of all lines
	pacer      *durable.Pacer
	line       backupLine
}

// next returns the next line, which is valid until the next call. What the line refers to
// stays valid.
func (r *backupReader) next() (*backupLine, error) {
	r.n++
	if err := r.pacer.Step(); err != nil {
		return nil, err
	}
	if err := r.read(); err != nil {
		return nil, err
	}
	r.total += int64(len(r.encoded))
	if r.total > anyRatio && r.total/maxRatio > r.compressed.n {
		return nil, errDamaged(r.n, "the backup decompresses to more than %d times its size, which no genuine backup does", maxRatio)
	}
	r.line = backupLine{size: len(r.encoded)}
	if err := json.Unmarshal(r.encoded, &r.line); err != nil {
		return nil, errDamaged(r.n, "it is not a record")
	}
	return &r.line, nil
}

// read reads the bytes of a line.
func (r *backupReader) read() error {
	r.encoded = r.encoded[:0]
	for {
		part, err := r.in.ReadSlice('\n')
		r.encoded = append(r.encoded, part...)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, bufio.ErrBufferFull) && len(r.encoded) <= maxLine:
			continue
		case errors.Is(err, zstd.ErrMagicMismatch) && r.n == 1:
			return errNoBackup
		case errors.Is(err, io.EOF) && r.n == 1 && len(r.encoded) == 0:
			return errDamaged(r.n, "the backup is empty")
		case errors.Is(err, io.EOF):
			return errDamaged(r.n, "the backup is truncated")
		}
		return errDamaged(r.n, "it cannot be decompressed, or is too long")
	}
}

// end checks the last line, and that nothing comes after it.
func (r *backupReader) end(last *backupEnd) error {
	if err := r.sums.check(r.n, last); err != nil {
		return err
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		return errDamaged(r.n+1, "there is data after the end of the backup")
	}
	return nil
}

// madeAt returns the time in the first line.
func (l *backupLine) madeAt() (time.Time, error) {
	switch {
	case l.Begin == nil || l.Begin.MadeAt == 0:
		return time.Time{}, errDamaged(1, "the backup's header is missing")
	case l.Begin.Version != backupVersion:
		return time.Time{}, errDamaged(1, "the backup has format %d, but this version reads format %d: use the version that made the backup, or a newer one", l.Begin.Version, backupVersion)
	case !apikey.InRange(l.Begin.MadeAt.time()):
		return time.Time{}, errNotAdmitted(1, "the time at which it was made is out of range")
	}
	return l.Begin.MadeAt.time(), nil
}
