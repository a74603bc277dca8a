package journal

import (
	"bytes"
	"encoding/binary"
	"os"
)

// pageSize is what a disk writes at once, or not at all: of an entry that was not
// synced, any page may be missing, and is zeros then.
const pageSize = 4096

// unfinished returns the damage unless it can be what a crash has left of one
// entry: a part of it, or zeros in its place. After what was acknowledged there
// is more than that, or an entry of which the length alone was changed.
func (j *Journal) unfinished(damage *Damage) error {
	content, err := os.ReadFile(damage.File)
	if err != nil {
		return err
	}
	rest := content[damage.Offset:]
	if len(bytes.TrimRight(rest, "\x00")) == 0 {
		return nil
	}
	if page := pageSize - damage.Offset%pageSize; int64(len(rest)) > page && len(bytes.TrimRight(rest[:page], "\x00")) == 0 {
		if hasNext(j.end.Number+2, rest[page:]) {
			return damage
		}
		return nil
	}
	if len(rest) >= lengthSize {
		length := uint64(binary.BigEndian.Uint32(rest))
		if length == 0 || length > maxPayload || uint64(len(rest)) > lengthSize+length+uint64(len(j.end.Sum)) {
			return damage
		}
		if hasEntry(j.end, rest) {
			return damage
		}
	}
	return nil
}

// hasEntry reports whether an entry follows a position that is whole but for its
// length.
func hasEntry(last Position, b []byte) bool {
	r := reader{rest: b[lengthSize:]}
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
		if !mayFollow(last.Number+2, r.rest[len(last.Sum):]) {
			continue // hashing is left to where it can be
		}
		content := binary.BigEndian.AppendUint32(nil, uint32(end-lengthSize))
		if sum := sumAfter(last, append(content, b[lengthSize:end]...)); string(sum[:]) == string(r.rest[:len(sum)]) {
			return true
		}
	}
	return false
}

// hasNext reports whether an entry of a number, which is whole, is among bytes, in
// front of which are those of another: its sum goes on from the one before it.
func hasNext(number uint64, b []byte) bool {
	const sumSize = len(Position{}.Sum)
	for i := sumSize; i+lengthSize < len(b); i++ {
		length := uint64(binary.BigEndian.Uint32(b[i:]))
		if !mayFollow(number, b[i:]) || length == 0 || uint64(len(b)-i) < lengthSize+length+uint64(sumSize) {
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

// mayFollow reports whether what is behind an entry may be the one of a number, or
// nothing.
func mayFollow(number uint64, b []byte) bool {
	if len(b) <= lengthSize {
		return true
	}
	r := reader{rest: b[lengthSize:]}
	return r.uvarint() == number
}
