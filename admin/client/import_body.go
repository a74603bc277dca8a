package client

import (
	"errors"
	"io"
	"sync"
)

// importBody is the body of an import. It remembers why its source could not be read,
// which the HTTP client does not pass on once the answer has begun.
type importBody struct {
	from io.Reader

	mu  sync.Mutex
	err error
}

func (b *importBody) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

// Close leaves the source open.
func (*importBody) Close() error { return nil }

// failure returns why the source could not be read, or nil.
func (b *importBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
