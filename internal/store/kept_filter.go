package store

import (
	"encoding/binary"
	"fmt"
	"io"

	"go.uber.org/zap"
)

// The filter of all digests is kept from one start to the next, because filling one takes
// seconds per million keys. It is kept as its room, how many digests were added, and its
// words, all of them little-endian in eight bytes. A room of 0 means no filter.

// wordsAtOnce is how many words are written or read at a time.
const wordsAtOnce = 4 << 10

// keepFilter writes the filter, and drops it: once the store is closed, another process may
// change it.
func (s *Store) keepFilter(to io.Writer) error {
	filter := s.filter.Swap(nil)
	switch {
	case to == nil:
		return nil
	case filter == nil:
		filter = &digestFilter{}
	}
	return filter.write(to)
}

// loadFilter loads the filter that the last stop has kept.
func (s *Store) loadFilter() {
	if err := s.db.Kept(func(from io.Reader) error {
		filter, err := readDigestFilter(from)
		if err == nil && filter != nil {
			s.filter.Store(filter)
		}
		return err
	}); err != nil {
		s.log.Warn("the index of the tokens of all keys cannot be used: making a new one", zap.String("path", s.Path()), zap.Error(err))
	}
}

func (f *digestFilter) write(to io.Writer) error {
	part := binary.LittleEndian.AppendUint64(nil, uint64(f.room))
	part = binary.LittleEndian.AppendUint64(part, uint64(f.added.Load()))
	for i := range f.words {
		part = binary.LittleEndian.AppendUint64(part, f.words[i].Load())
		if len(part) >= 8*wordsAtOnce {
			if _, err := to.Write(part); err != nil {
				return err
			}
			part = part[:0]
		}
	}
	_, err := to.Write(part)
	return err
}

// readDigestFilter reads what write has written.
func readDigestFilter(from io.Reader) (*digestFilter, error) {
	part := make([]byte, 8*wordsAtOnce)
	if _, err := io.ReadFull(from, part[:16]); err != nil {
		return nil, err
	}
	room := int64(binary.LittleEndian.Uint64(part))
	if room == 0 {
		return nil, nil
	}
	if room < minRoom {
		return nil, fmt.Errorf("it is for %d keys", room)
	}
	filter := digestFilterFor(room)
	filter.added.Store(int64(binary.LittleEndian.Uint64(part[8:])))
	for words := filter.words; len(words) > 0; {
		some := part[:8*min(len(words), wordsAtOnce)]
		if _, err := io.ReadFull(from, some); err != nil {
			return nil, err
		}
		for i := range len(some) / 8 {
			words[i].Store(binary.LittleEndian.Uint64(some[8*i:]))
		}
		words = words[len(some)/8:]
	}
	return filter, nil
}
