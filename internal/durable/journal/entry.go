package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"
)

// An entry is stored as the length of its payload (4 bytes, big-endian), the
// payload, and the SHA-256 over the previous entry's sum, the length and the
// payload. The payload holds the entry's number, the time in Unix milliseconds, and
// the writes. A write is the length of the key, the key, and the length of the
// value plus one and the value, or a 0 for a deletion. All numbers but the first
// are varints.

// Entry is a journal entry: the writes of one change.
type Entry struct {
	Position
	at      time.Time
	encoded []byte
}

const (
	lengthSize = 4
	// maxPayload is more than one transaction of the store can hold.
	maxPayload = 16 << 20
)

var (
	errEntry     = errors.New("the entry does not match its checksum")
	errTruncated = errors.New("the file ends in the middle of an entry")
)

// newEntry encodes an entry, in the given buffer if it has room.
func newEntry(buffer []byte, last Position, at time.Time, writes []Write) Entry {
	e := Entry{Position: Position{Number: last.Number + 1}, at: at}
	size := lengthSize + 2*binary.MaxVarintLen64 + len(e.Sum)
	for _, w := range writes {
		size += 2*binary.MaxVarintLen64 + len(w.Key) + len(w.Value)
	}
	if cap(buffer) < size {
		buffer = make([]byte, size)
	}
	b := binary.AppendUvarint(buffer[:lengthSize], e.Number)
	b = binary.AppendVarint(b, at.UnixMilli())
	for _, w := range writes {
		b = binary.AppendUvarint(b, uint64(len(w.Key)))
		b = append(b, w.Key...)
		if w.Delete {
			b = binary.AppendUvarint(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(w.Value))+1)
		b = append(b, w.Value...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-lengthSize))
	e.Sum = sumAfter(last, b)
	e.encoded = append(b, e.Sum[:]...)
	return e
}

// sumAfter returns the sum of an encoded entry, which lacks it, after another
// entry.
func sumAfter(last Position, entry []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(last.Sum[:])
	h.Write(entry)
	h.Sum(sum[:0])
	return sum
}

// decodePayload decodes the payload of an entry. The writes alias b.
func decodePayload(b []byte) (number uint64, at time.Time, writes []Write, err error) {
	r := decoder{rest: b}
	number = r.uvarint()
	at = time.UnixMilli(r.varint()).UTC()
	for len(r.rest) > 0 && r.err == nil {
		writes = append(writes, r.write())
	}
	return number, at, writes, r.err
}

// decoder decodes from the front of rest. After an error, it returns zeros.
type decoder struct {
	rest []byte
	err  error
}

func (r *decoder) write() Write {
	w := Write{Key: r.bytes(r.uvarint())}
	if length := r.uvarint(); length > 0 {
		w.Value = r.bytes(length - 1)
	} else {
		w.Delete = true
	}
	return w
}

func (r *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	return n * r.skip(size)
}

func (r *decoder) varint() int64 {
	n, size := binary.Varint(r.rest)
	return n * int64(r.skip(size))
}

// skip advances past a varint of the given size and returns 1, or 0 if there was
// none.
func (r *decoder) skip(size int) uint64 {
	if size <= 0 {
		r.err, r.rest = errEntry, nil
		return 0
	}
	r.rest = r.rest[size:]
	return 1
}

func (r *decoder) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.err, r.rest = errEntry, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}
