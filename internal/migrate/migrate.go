// Package migrate reads the keys that other systems have exported, as lines to import.
// Tokens are hashed as they are read: none is in what it returns, or in an error.
package migrate

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// Format is a form of export.
type Format string

// The forms of export.
const (
	JSONL Format = "jsonl" // what client.Import sends, one object per line
	CSV   Format = "csv"   // the same members as columns
	Kong  Format = "kong"  // decK's declarative configuration
	Unkey Format = "unkey" // Unkey's keys, with their hashes
	Tyk   Format = "tyk"   // Tyk's keys, hashed with SHA-256
)

// Formats returns all forms of export.
func Formats() []Format { return []Format{JSONL, CSV, Kong, Unkey, Tyk} }

// Derived reports whether an export has no presets, and has names and workspaces under
// other rules than the gateway's.
func (f Format) Derived() bool { return f == Kong || f == Unkey || f == Tyk }

// Options say what an export leaves open.
type Options struct {
	// Workspace is the workspace of keys whose lines name none, in JSONL and CSV, and of
	// all keys otherwise. If it is "", consumers, external ids and organisations are the
	// workspaces.
	Workspace string
	// Preset is the preset of keys whose lines have none.
	Preset string
	// Written is when the export was written. Lifetimes in it begin then.
	Written time.Time
	// Now tells which keys have expired.
	Now time.Time
	// TokenPrefix is the gateway's. Tokens that begin with it and are none of its own are
	// refused, as the gateway refuses them. If it is "", no token is refused for that.
	TokenPrefix string
}

// Entry is a key of an export.
type Entry struct {
	// Line is where the key begins in the export, from 1 on.
	Line int
	// Key is what to import, unless LeftOut or Err says otherwise.
	Key client.ImportLine
	// OtherName is the name that an earlier import may have given the key instead, because
	// other keys were before it in that export. It is "" if only Key.Name is possible.
	OtherName string
	// LeftOut is why the key is of no use any more: "disabled", "expired". It is "" if the
	// key is to be imported.
	LeftOut string
	// Err is why the key cannot be imported, and what to do; nil if it can.
	Err *client.Error
	// Lost is what the gateway does not keep about the key, such as "metadata".
	Lost []string
	// Native reports whether the token is certain to have the form of the gateway's own.
	Native bool
}

// Read returns the keys of an export in their order. An export is read as its keys are
// asked for, where its form allows that. An error ends it: what was returned before it
// holds.
func Read(r io.Reader, format Format, options Options) iter.Seq2[Entry, error] {
	from := source{in: &bounded{in: bufio.NewReader(r)}, options: options, names: make(map[string]string)}
	from.in.next()
	read := map[Format]func(*source, func(Entry) bool) error{
		JSONL: (*source).jsonl, CSV: (*source).csv, Kong: (*source).kong, Unkey: (*source).unkey, Tyk: (*source).tyk,
	}[format]
	return func(yield func(Entry, error) bool) {
		more := true
		err := read(&from, func(e Entry) bool {
			more = yield(from.complete(e, format), nil)
			return more
		})
		if err != nil && more {
			yield(Entry{}, err)
		}
	}
}

// source is an export that is being read.
type source struct {
	in      *bounded
	options Options
	names   map[string]string // the digest of the key that has it, by workspace and name; of derived formats alone
}

// complete fills in what an export leaves open.
func (s *source) complete(e Entry, format Format) Entry {
	if e.Err != nil || e.LeftOut != "" {
		return e
	}
	if e.Key.WorkspaceID == "" || s.options.Workspace != "" && format.Derived() {
		e.Key.WorkspaceID = s.options.Workspace
	}
	if e.Key.Preset == "" {
		e.Key.Preset = s.options.Preset
	}
	switch {
	case format.Derived() && !e.Key.ExpiresAt.IsZero() && !e.Key.ExpiresAt.After(s.options.Now):
		e.LeftOut = "expired"
		return e
	case format.Derived():
		e.Err = workspaceFlaw(e.Key.WorkspaceID)
		e.Key.Name, e.OtherName = s.namesFor(e.Key)
	case e.Key.WorkspaceID == "":
		e.Err = refuse(client.CodeInvalidWorkspace, "workspace_id", "There is no workspace_id: add one, or give --workspace.")
	case e.Key.Preset == "":
		e.Err = refuse(client.CodeInvalidPreset, "preset", "There is no preset: add one, or give --preset.")
	}
	slices.Sort(e.Lost)
	e.Lost = slices.Compact(e.Lost)
	return e
}

func refuse(code, field, message string) *client.Error {
	return &client.Error{Code: code, Field: field, Message: message}
}

// bounded is a reader with an allowance, so that what was never a key is not read into
// memory. It leaves out a byte-order mark.
type bounded struct {
	in    *bufio.Reader
	left  int
	spent error // what it fails with, once the allowance is spent
	begun bool
	// failed is the error that reading ended with. A parser may take it for the end of
	// what it parses.
	failed error
}

// maxKey bounds what one key takes, with what is read ahead of it.
const maxKey = 2 << 20

var errUTF16 = errors.New("it is UTF-16: save it as UTF-8")

var errTooLong = errors.New("one of its keys is longer than 2 MiB: is --from right?")

// next renews the allowance for another key.
func (b *bounded) next() { b.left, b.spent = maxKey, errTooLong }

func (b *bounded) Read(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		switch start, _ := b.in.Peek(3); {
		case string(start) == "\ufeff":
			_, _ = b.in.Discard(3)
		case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
			b.left, b.spent = 0, errUTF16
		}
	}
	if b.left <= 0 {
		b.failed = b.spent
		return 0, b.failed
	}
	n, err := b.in.Read(p[:min(len(p), b.left)])
	b.left -= n
	if err != nil && err != io.EOF {
		b.failed = err
	}
	return n, err
}
