package journal

import (
	"bytes"
	"encoding/binary"
	"os"
)

// pageSize is what a disk writes atomically. After a crash, any page of an entry
// that was not synced may hold zeros instead.
const pageSize = 4096

// checkTorn returns nil if the damage may be a torn write: part of one entry, or
// zeros in its place. It returns the damage if more was there, because then it was
// acknowledged: another whole entry, or an entry that is whole but for its length.
func (j *Journal) checkTorn(damage *Damage) error {
	content, err := os.ReadFile(damage.File)
	if err != nil {
		return err
	}
	rest := content[damage.Offset:]
	if len(bytes.TrimRight(rest, "\x00")) == 0 {
		return nil
	}
	if page := pageSize - damage.Offset%pageSize; int64(len(rest)) > page && len(bytes.TrimRight(rest[:page], "\x00")) == 0 {
		if containsEntry(j.end.Number+2, rest[page:]) {
			return damage
		}
		return nil
	}
	if len(rest) >= lengthSize {
		length := uint64(binary.BigEndian.Uint32(rest))
		if length == 0 || length > maxPayload || uint64(len(rest)) > lengthSize+length+uint64(len(j.end.Sum)) {
			return damage
		}
		if wholeButLength(j.end, rest) {
			return damage
		}
	}
	return nil
}

// wholeButLength reports whether b starts with the entry after last, whole but for
// its length.
func wholeButLength(last Position, b []byte) bool {
	r := decoder{rest: b[lengthSize:]}
	if number := r.uvarint(); number != last.Number+1 {
		return false
	}
	r.varint()
	for r.err == nil && len(r.rest) > len(last.Sum) {
		r.write()
		end := len(b) - len(r.rest)
		if r.err != nil || len(r.rest) < len(last.Sum) {
			return false
		}
		if !mayStart(last.Number+2, r.rest[len(last.Sum):]) {
			continue // hash only where the entry can end
		}
		content := binary.BigEndian.AppendUint32(nil, uint32(end-lengthSize))
		if sum := sumAfter(last, append(content, b[lengthSize:end]...)); string(sum[:]) == string(r.rest[:len(sum)]) {
			return true
		}
	}
	return false
}

// containsEntry reports whether b contains the whole entry of the given number,
// preceded by at least the sum of the entry before it, from which its own is
// computed.
func containsEntry(number uint64, b []byte) bool {
	const sumSize = len(Position{}.Sum)
	for i := sumSize; i+lengthSize < len(b); i++ {
		length := uint64(binary.BigEndian.Uint32(b[i:]))
		if !mayStart(number, b[i:]) || length == 0 || uint64(len(b)-i) < lengthSize+length+uint64(sumSize) {
			continue
		}
		end := i + lengthSize + int(length)
		before := Position{Number: number - 1, Sum: [sumSize]byte(b[i-sumSize:])}
		if sum := sumAfter(before, b[i:end]); string(sum[:]) == string(b[end:end+sumSize]) {
			return true
		}
	}
	return false
}

// mayStart reports whether b is empty or may start with the entry of the given
// number.
func mayStart(number uint64, b []byte) bool {
	if len(b) <= lengthSize {
		return true
	}
	r := decoder{rest: b[lengthSize:]}
	return r.uvarint() == number
}
