package durable

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// keep has the owner write what it keeps, or drop it if to is nil. Only the first call
// counts.
func (db *DB) keep(to io.Writer) error {
	keep := db.options.Keep
	db.options.Keep = nil
	if keep == nil {
		return nil
	}
	return keep(to)
}

// writeKept writes what the owner keeps, and returns its checksum, or nil if there is
// nothing.
func (db *DB) writeKept() (*uint32, error) {
	if db.options.Keep == nil {
		return nil, nil
	}
	file, err := os.OpenFile(db.inJournal(keptFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	sum := crc32.New(castagnoli)
	err = db.keep(io.MultiWriter(db.WhileSpace(file), sum))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, err
	}
	written := sum.Sum32()
	return &written, nil
}

// Kept has the owner read what [Options.Keep] has written, if the database is still as the
// last stop has left it.
func (db *DB) Kept(read func(from io.Reader) error) error {
	if db.kept == nil {
		return nil
	}
	file, err := os.Open(db.inJournal(keptFile))
	if err != nil {
		return err
	}
	defer file.Close()
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, file); err != nil {
		return err
	}
	if sum.Sum32() != *db.kept {
		return fmt.Errorf("the file %q is damaged", file.Name())
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return read(file)
}
