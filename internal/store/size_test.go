package store

import "testing"

func TestSize(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Zapier", start)
	size := s.Size()
	equal(t, "tables before there are any", size.Tables, uint64(0))
	// The log's files are 48 MiB long from the beginning.
	if size.Log == 0 || size.Log > 8<<20 {
		t.Errorf("log with one change: got %d bytes, want some, and less than 8 MiB", size.Log)
	}
	if size.Free < s.minFree {
		t.Errorf("free: got %d bytes, want the %d or more that a change asks for", size.Free, s.minFree)
	}

	s = reopen(t, s) // Badger writes its tables when it is closed
	if got := s.Size().Tables; got == 0 {
		t.Error("tables: got 0 bytes, want some")
	}
}

func TestSize_ofNoStore(t *testing.T) {
	equal(t, "size", (*Store)(nil).Size(), Size{})
}
