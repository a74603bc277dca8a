package durable

import "testing"

func TestSize(t *testing.T) {
	db := openNew(t)
	mustCreate(t, db)
	size := db.Size()
	equal(t, "tables before there are any", size.Tables, uint64(0))
	// The log's files are created at their full length of 48 MiB, as sparse files.
	if size.Log == 0 || size.Log > 8<<20 {
		t.Errorf("log with one change: got %d bytes, want some, and less than 8 MiB", size.Log)
	}
	if size.Free < minFree {
		t.Errorf("free: got %d bytes, want at least the %d that a change needs", size.Free, minFree)
	}

	db = reopen(t, db) // closing writes tables
	if got := db.Size().Tables; got == 0 {
		t.Error("tables: got 0 bytes, want some")
	}
}
