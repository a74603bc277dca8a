package leaks

import (
	"crypto/ecdsa"
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	// maxReading is how many reports are read at a time: anybody can send what may be one,
	// and until its last byte has arrived, it cannot be told from GitHub's.
	maxReading = 32
	// readTime is how long one may take to arrive.
	readTime = 5 * time.Second
)

// reading has an element for each report that is being read. It belongs to the process, so
// that reloads and several handlers do not multiply the memory.
var reading = make(chan struct{}, maxReading)

// hungUp says that nobody waits for an answer. It is not an outcome.
const hungUp = "hung_up"

// readSigned returns the body of a report that is signed, or why it is refused.
func readSigned(w http.ResponseWriter, r *http.Request, signer *ecdsa.PublicKey, signature []byte) (body []byte, refused string) {
	select {
	case reading <- struct{}{}:
		defer func() { <-reading }()
	default:
		return nil, TooMany
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(readTime)) // not every server has deadlines
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	_ = control.SetReadDeadline(time.Time{})
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case large:
		return nil, TooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, TooSlow
	case err != nil:
		return nil, hungUp
	case !signed(signer, body, signature):
		return nil, Unauthorized
	}
	return body, ""
}
