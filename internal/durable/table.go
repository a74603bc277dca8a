package durable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// A table of Badger's consists of blocks, and ends with its index, the size of that, the
// index's checksum, and the size of that. The index says where the blocks are. A block
// ends with its own checksum, and the size of that.
//
// These functions verify one without mapping it into memory as Badger does: that takes
// three times as long, and is fatal if the file shrinks meanwhile.

// readAtOnce is how much of a table is read at a time: what a processor's cache holds, so
// that the checksums are computed from there.
const readAtOnce = 256 << 10

// tableBuffers are buffers for reading tables.
var tableBuffers = sync.Pool{New: func() any { return new(tableBuffer) }}

type tableBuffer struct{ end, blocks []byte }

// examineTable reads a whole table, verifies all of its checksums, and returns the highest
// version in it.
func examineTable(name string) (newest uint64, err error) {
	newest, _, err = readTableFile(name, func(*fb.TableIndex) int { return 0 })
	return newest, err
}

// lastBlock is for readTableFile: Badger reads the last block of a table to open it.
func lastBlock(index *fb.TableIndex) int { return index.OffsetsLength() - 1 }

// readTableFile reads a table's index, and its blocks from one on, and verifies their
// checksums. It also returns that of the index, by which a table is told from others.
func readTableFile(name string, from func(*fb.TableIndex) int) (newest, sum uint64, err error) {
	defer func() {
		if reason := recover(); reason != nil { // the index is not that of a table
			err = fmt.Errorf("%v", reason)
		}
		switch {
		case isTransient(err), errors.Is(err, fs.ErrNotExist):
			err = fmt.Errorf("the table %q cannot be read: %w", filepath.Base(name), err)
		case err != nil:
			err = fmt.Errorf("the table %q is damaged: %w", filepath.Base(name), err)
		}
	}()
	file, err := os.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	buffer := tableBuffers.Get().(*tableBuffer)
	defer tableBuffers.Put(buffer)
	index, sum, err := buffer.readIndex(file)
	if err != nil {
		return 0, 0, err
	}
	return index.MaxVersion(), sum, buffer.verifyBlocks(file, index, from(index))
}

// readIndex reads the index of a table, and verifies its checksum. The index is valid
// until the next call.
func (b *tableBuffer) readIndex(file *os.File) (index *fb.TableIndex, sum uint64, err error) {
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	for size := int64(readAtOnce); ; size *= 2 {
		size = min(size, info.Size())
		if b.end, err = readAt(file, b.end, info.Size()-size, int(size)); err != nil {
			return nil, 0, err
		}
		index, sum, err := verifiedIndex(b.end)
		if err == nil || !errors.Is(err, errCutOff) || size == info.Size() {
			return index, sum, err
		}
	}
}

// verifiedIndex returns the index that the end of a table contains.
func verifiedIndex(end []byte) (index *fb.TableIndex, sum uint64, err error) {
	var checksum pb.Checksum
	rest, err := cutChecksum(end, &checksum)
	if err != nil {
		return nil, 0, err
	}
	_, encoded, err := cutSized(rest)
	if err == nil {
		err = y.VerifyChecksum(encoded, &checksum)
	}
	if err != nil {
		return nil, 0, err
	}
	return fb.GetRootAsTableIndex(encoded, 0), checksum.Sum, nil
}

// verifyBlocks reads the blocks of a table from one on, and verifies their checksums.
func (b *tableBuffer) verifyBlocks(file *os.File, index *fb.TableIndex, from int) (err error) {
	var at fb.BlockOffset
	var sum pb.Checksum
	var begin, end uint32 // of what has been read
	for i := from; i < index.OffsetsLength(); i++ {
		index.Offsets(&at, i)
		if at.Offset()+at.Len() > end {
			begin, end = at.Offset(), endOfBlocks(index, i)
			if b.blocks, err = readAt(file, b.blocks, int64(begin), int(end-begin)); err != nil {
				return err
			}
		}
		block, err := cutChecksum(b.blocks[at.Offset()-begin:][:at.Len()], &sum)
		if err == nil {
			err = y.VerifyChecksum(block, &sum)
		}
		if err != nil {
			return fmt.Errorf("at byte %d: %w", at.Offset(), err)
		}
	}
	return nil
}

// endOfBlocks returns where the blocks end that are read together, from the i-th on.
func endOfBlocks(index *fb.TableIndex, i int) (end uint32) {
	var at fb.BlockOffset
	index.Offsets(&at, i)
	begin := at.Offset()
	for end = begin + at.Len(); i+1 < index.OffsetsLength(); i++ {
		if index.Offsets(&at, i+1); at.Offset() != end || end+at.Len()-begin > readAtOnce {
			break
		}
		end += at.Len()
	}
	return end
}

// readAt reads part of a file into a buffer, which it enlarges if need be.
func readAt(file *os.File, buffer []byte, at int64, size int) ([]byte, error) {
	if cap(buffer) < size {
		buffer = make([]byte, size)
	}
	buffer = buffer[:size]
	_, err := file.ReadAt(buffer, at)
	if errors.Is(err, io.EOF) {
		err = errCutOff
	}
	return buffer, err
}

var errCutOff = errors.New("it is too short")

// cutChecksum decodes the checksum that content ends with, and returns what precedes it.
func cutChecksum(content []byte, sum *pb.Checksum) (rest []byte, err error) {
	rest, encoded, err := cutSized(content)
	if err == nil {
		err = proto.Unmarshal(encoded, sum)
	}
	return rest, err
}

// cutSized splits off what content ends with, which its size follows in four bytes.
func cutSized(content []byte) (rest, last []byte, err error) {
	const sizeSize = 4
	if len(content) < sizeSize {
		return nil, nil, errCutOff
	}
	rest = content[:len(content)-sizeSize]
	size := uint64(binary.BigEndian.Uint32(content[len(rest):]))
	if size > uint64(len(rest)) {
		return nil, nil, errCutOff
	}
	at := len(rest) - int(size)
	return rest[:at], rest[at:], nil
}
