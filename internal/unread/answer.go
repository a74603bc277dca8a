package unread

import (
	"net/http"
	"strconv"
)

// maxHeld is the size of the longest response that is held until its length is known.
const maxHeld = 64 << 10

// answer holds the body that is written to it, so that the header can state its length:
// otherwise a client would wait for the end of the response until the handler returns. It
// hides the other methods of the writer.
type answer struct {
	http.ResponseWriter
	head   bool // the request was a HEAD
	costly bool // a response that is too long to hold closes the connection
	status int
	body   []byte
	begun  bool // the response was too long to hold
}

func (a *answer) WriteHeader(status int) {
	if a.begun || status < 200 {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if !a.begun && len(a.body)+len(b) > maxHeld {
		if a.costly {
			a.Header().Set("Connection", "close")
		}
		if err := a.begin(); err != nil {
			return 0, err
		}
	}
	if a.begun {
		return a.ResponseWriter.Write(b)
	}
	a.body = append(a.body, b...)
	return len(b), nil
}

func (a *answer) begin() error {
	a.begun = true
	if a.status != 0 {
		a.ResponseWriter.WriteHeader(a.status)
	}
	_, err := a.ResponseWriter.Write(a.body)
	return err
}

// send sends what is held, and reports whether the complete response is on its way to the
// client, as far as can be determined here.
func (a *answer) send(control *http.ResponseController) bool {
	length := a.Header().Get("Content-Length")
	if !a.begun {
		if !a.head || len(a.body) > 0 {
			length = strconv.Itoa(len(a.body))
			a.Header().Set("Content-Length", length)
		}
		if err := a.begin(); err != nil {
			return false
		}
	}
	if buffers(a.ResponseWriter) {
		a.Header().Del("Content-Length") // it may get another body
		return false
	}
	if err := control.Flush(); err != nil {
		return false
	}
	// A handler that compresses the response removes its length, and ends it after this
	// one has returned.
	return a.head || length != "" && a.Header().Get("Content-Length") == length
}

// buffers reports whether a handler before this one buffers the response. The method is
// that of Caddy's ResponseRecorder.
func buffers(w http.ResponseWriter) bool {
	for w := range chain(w) {
		if b, ok := w.(interface{ Buffered() bool }); ok && b.Buffered() {
			return true
		}
	}
	return false
}
