package test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A screen is what somebody sees in a browser, whichever it is.
type screen struct {
	t    *testing.T
	text func() string
}

// shownText is what a page shows; of a page with a dialog, the dialog.
const shownText = `(document.querySelector("dialog") ?? document.body)?.innerText ?? ""`

// squeezed makes texts comparable, however they are wrapped or put in columns.
func squeezed(s string) string { return strings.Join(strings.Fields(s), " ") }

var errNotYet = errors.New("not yet")

// await asks again and again, and more rarely the longer it takes: pages tell nobody that
// they are done.
func (s screen) await(what string, try func() error) {
	s.t.Helper()
	for begun := time.Now(); ; {
		err := try()
		if err == nil {
			return
		}
		waited := time.Since(begun)
		if waited > 30*time.Second {
			s.t.Fatalf("waited 30 s for %s: %v; the page shows:\n%s", what, err, s.text())
		}
		time.Sleep(min(25*time.Millisecond+waited/20, 200*time.Millisecond))
	}
}

// sees waits until the page shows texts.
func (s screen) sees(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		s.await(fmt.Sprintf("the text %q", text), func() error {
			if !strings.Contains(s.text(), text) {
				return errNotYet
			}
			return nil
		})
	}
}

// misses waits until the page does not show a text.
func (s screen) misses(text string) {
	s.t.Helper()
	s.await(fmt.Sprintf("the text %q to go", text), func() error {
		if shown := s.text(); shown == "" || strings.Contains(shown, text) {
			return errNotYet
		}
		return nil
	})
}
