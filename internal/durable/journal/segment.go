package journal

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A segment begins with this header and the position of the entry before its first.
const segmentMagic = "caddy-api-keys journal 1\n"

const positionSize = 8 + len(Position{}.Sum)

func appendPosition(b []byte, p Position) []byte {
	return append(binary.BigEndian.AppendUint64(b, p.Number), p.Sum[:]...)
}

// readHeader checks the magic at the start of a file, and returns the position
// after it.
func readHeader(from io.Reader, magic string) (p Position, err error) {
	header := make([]byte, len(magic)+positionSize)
	if _, err := io.ReadFull(from, header); err != nil {
		return Position{}, errors.New("it is too short")
	}
	if string(header[:len(magic)]) != magic {
		return Position{}, errors.New("it does not have the header of a journal file")
	}
	header = header[len(magic):]
	p.Number = binary.BigEndian.Uint64(header)
	copy(p.Sum[:], header[8:])
	return p, nil
}

// Tail is the part of a journal after its snapshot.
type Tail struct {
	// Writes holds the last write to each key.
	Writes map[string]Write
	// Positions maps an entry's number to its position.
	Positions map[uint64]Position
	Last      time.Time // the latest time of any entry
	// Torn is the damage at the end, if any: either a torn write, which was never
	// acknowledged, or lost entries, which were. The caller must find out which,
	// from the last position that the store has applied.
	Torn *Damage
}

// InOrder returns the last write to each key, sorted by key.
func (t *Tail) InOrder() []Write {
	writes := make([]Write, 0, len(t.Writes))
	for _, key := range slices.Sorted(maps.Keys(t.Writes)) {
		writes = append(writes, t.Writes[key])
	}
	return writes
}

// replay reads the segments since the snapshot and returns those in use. It skips a
// segment that was created but could not be opened, after which the one before it
// was continued. On error, the tail holds what precedes the damage.
func (j *Journal) replay(segments []file) (inUse []file, tail *Tail, err error) {
	tail = &Tail{Writes: make(map[string]Write), Positions: make(map[uint64]Position)}
	j.end = j.base
	for i, segment := range segments {
		if j.abandoned(segment.path, tail) {
			continue
		}
		j.roll()
		size, err := j.replaySegment(segment.path, tail)
		damage, damaged := errors.AsType[*Damage](err)
		used := func(s file) bool { return !j.abandoned(s.path, tail) }
		if damaged && size > 0 && !slices.ContainsFunc(segments[i+1:], used) {
			tail.Torn, err = damage, j.checkTorn(damage)
		}
		if err != nil {
			return nil, tail, err
		}
		inUse, j.size = append(inUse, segment), size
	}
	if len(inUse) == 0 {
		return nil, tail, &Damage{File: segments[0].path, Next: j.base.Number + 1, Reason: "it does not continue from the end of the snapshot"}
	}
	return inUse, tail, nil
}

// abandoned reports whether a segment holds only a header, and an earlier segment
// was continued past the position in it.
func (j *Journal) abandoned(path string, tail *Tail) bool {
	content, err := readUpTo(path, len(segmentMagic)+positionSize+1)
	if err != nil || len(content) > len(segmentMagic)+positionSize {
		return false
	}
	begin, err := readHeader(bytes.NewReader(content), segmentMagic)
	if err != nil || begin == j.end {
		return false
	}
	known, ok := tail.Positions[begin.Number]
	return begin == j.base || ok && begin == known
}

func readUpTo(path string, n int) ([]byte, error) {
	opened, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	return io.ReadAll(io.LimitReader(opened, int64(n)))
}

// replaySegment adds a segment's entries to the tail. It returns the size of the
// intact part, or 0 if even the header is damaged.
func (j *Journal) replaySegment(path string, tail *Tail) (size int64, err error) {
	opened, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer opened.Close()
	in := bufio.NewReaderSize(opened, 256<<10)
	damage := func(format string, args ...any) error {
		return &Damage{File: path, Offset: size, Next: j.end.Number + 1, Reason: fmt.Sprintf(format, args...)}
	}
	switch begin, err := readHeader(in, segmentMagic); {
	case err != nil:
		return 0, damage("%v", err)
	case begin != j.end:
		return 0, damage("it does not continue from the end of the previous file, after entry %d", j.end.Number)
	}
	size = int64(len(segmentMagic) + positionSize)
	for {
		entry, err := readEntry(in)
		if err == io.EOF {
			return size, nil
		}
		if err == nil {
			err = j.replayEntry(entry, tail)
		}
		if err != nil {
			return size, damage("%v", err)
		}
		size += int64(len(entry))
	}
}

// readEntry returns the encoding of the next entry, or io.EOF at the end.
func readEntry(in io.Reader) ([]byte, error) {
	var length [lengthSize]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		if err == io.EOF {
			return nil, err
		}
		return nil, errTruncated
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxPayload {
		return nil, errEntry
	}
	entry := make([]byte, lengthSize+int(n)+len(Position{}.Sum))
	copy(entry, length[:])
	if _, err := io.ReadFull(in, entry[lengthSize:]); err != nil {
		return nil, errTruncated
	}
	return entry, nil
}

// replayEntry verifies the next entry and adds it to the tail.
func (j *Journal) replayEntry(entry []byte, tail *Tail) error {
	content, sum := entry[:len(entry)-len(Position{}.Sum)], entry[len(entry)-len(Position{}.Sum):]
	next := Position{Number: j.end.Number + 1, Sum: sumAfter(j.end, content)}
	if string(next.Sum[:]) != string(sum) {
		return errEntry
	}
	number, at, writes, err := decodePayload(content[lengthSize:])
	if err != nil || number != next.Number {
		return errEntry
	}
	for _, w := range writes {
		tail.Writes[string(w.Key)] = w
	}
	j.end, j.begun, tail.Positions[number] = next, cmp.Or(j.begun, at), next
	if at.After(tail.Last) {
		tail.Last = at
	}
	return nil
}

// startSegment creates a segment for the entries after a position, and appends to
// it from then on.
func (j *Journal) startSegment(after Position) error {
	header := appendPosition([]byte(segmentMagic), after)
	path := filepath.Join(j.dir, fileName(after.Number+1, segmentSuffix))
	if err := writeFile(path, header); err != nil {
		return err
	}
	segment, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if j.segment != nil {
		_ = j.segment.Close() // already synced
	}
	j.roll()
	j.segment, j.size = segment, int64(len(header))
	return nil
}

// roll adds the last segment to those before it.
func (j *Journal) roll() {
	j.before, j.size = j.before+j.size, 0
	j.since, j.begun = cmp.Or(j.since, j.begun), time.Time{}
}

// writeFile creates a file atomically: with all of its content, or not at all.
func writeFile(path string, content []byte) error {
	temporary := path + temporarySuffix
	opened, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := opened.Write(content); err != nil {
		return errors.Join(err, opened.Close(), os.Remove(temporary))
	}
	return publish(opened, path)
}

// publish syncs and closes a temporary file and renames it durably.
func publish(temporary *os.File, path string) error {
	if err := errors.Join(temporary.Sync(), temporary.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// after returns the segments after a position, in order.
func (f files) after(p Position) ([]file, error) {
	i := slices.IndexFunc(f.segments, func(s file) bool { return s.number > p.Number })
	if i < 0 || f.segments[i].number != p.Number+1 {
		return nil, &Damage{
			File: filepath.Join(f.dir, fileName(p.Number+1, segmentSuffix)), Next: p.Number + 1,
			Reason: "it is missing",
		}
	}
	return f.segments[i:], nil
}
