package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// object is an element of an export in JSON.
type object struct {
	line  int
	name  string // of the member that it is the value of; "" in an array
	value jsontext.Value
}

// shape says how an export in JSON has its keys.
type shape struct {
	// lists are the members of an object at the top whose arrays have the keys.
	lists []string
	// keyed reports whether a member of an object at the top is a key, by its name.
	keyed func(name string) bool
	// unread reports whether others should follow an answer with keys, by its members
	// that are no keys, and how many answers there were with it.
	unread func(members jsontext.Value, answers int) bool
}

var errPages = errors.New("more pages follow the last one in it: append the answers for those, and import again")

// objects calls found for every key of an export in JSON: in an array, in one that is a
// member of an object, as members, or one after the other. It ends once found returns
// false.
func (s *source) objects(of shape, found func(object) bool) error {
	counted := &lineCounter{in: s.in}
	in := jsontext.NewDecoder(counted)
	w := walk{source: s, of: of, in: in, lines: counted, found: found}
	for !w.over {
		s.in.next()
		kind := in.PeekKind()
		line := w.line()
		var err error
		switch kind {
		case '[':
			err = w.array()
		case '{':
			err = w.top(line)
		default:
			if _, err = in.ReadToken(); err == nil {
				err = fmt.Errorf("line %d has no keys: is --from right?", line)
			}
		}
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			if w.unread {
				return errPages
			}
			return nil
		}
		if err != nil {
			return w.explain(err)
		}
	}
	return nil
}

// walk is the state of objects.
type walk struct {
	*source
	of    shape
	in    *jsontext.Decoder
	lines *lineCounter
	found func(object) bool
	over  bool

	answers int  // with keys in them
	unread  bool // whether others should follow the last one
}

// line returns the line of the next value, which was peeked at.
func (w *walk) line() int {
	at := w.in.InputOffset() + int64(len(w.in.UnreadBuffer())) - int64(len(bytes.TrimLeft(w.in.UnreadBuffer(), " \t\r\n,:")))
	return w.lines.at(at)
}

func (w *walk) emit(line int, name string, value jsontext.Value) {
	if !w.found(object{line, name, value}) {
		w.over = true
	}
}

func (w *walk) array() error {
	if _, err := w.in.ReadToken(); err != nil {
		return err
	}
	for !w.over {
		w.next()
		if w.in.PeekKind() == ']' {
			_, err := w.in.ReadToken()
			return err
		}
		line := w.line()
		value, err := w.in.ReadValue()
		if err != nil {
			return err
		}
		w.emit(line, "", value.Clone())
	}
	return nil
}

// next lets another key be read.
func (w *walk) next() { w.source.in.next() }

// top reads an object at the top: a key, or what has keys in it.
func (w *walk) top(line int) error {
	if _, err := w.in.ReadToken(); err != nil {
		return err
	}
	var members bytes.Buffer // of an object that is a key itself
	wrapper := false
	for !w.over {
		if w.in.PeekKind() == '}' {
			_, err := w.in.ReadToken()
			rest := jsontext.Value("{" + members.String() + "}")
			switch {
			case err != nil:
			case !wrapper:
				w.emit(line, "", rest)
			case w.of.unread != nil:
				w.answers++
				w.unread = w.of.unread(rest, w.answers)
			}
			return err
		}
		at := w.line()
		token, err := w.in.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		if w.isList(name) && w.in.PeekKind() == '[' {
			wrapper = true
			if err := w.array(); err != nil {
				return err
			}
			w.next()
			continue
		}
		value, err := w.in.ReadValue()
		if err != nil {
			return err
		}
		if w.of.keyed != nil && w.of.keyed(name) && value.Kind() == '{' {
			wrapper = true
			w.emit(at, name, value.Clone())
			w.next()
			continue
		}
		if members.Len() > 0 {
			members.WriteByte(',')
		}
		quoted, err := jsontext.AppendQuote(nil, name)
		if err != nil {
			return err
		}
		members.Write(quoted)
		members.WriteByte(':')
		members.Write(value)
	}
	return nil
}

func (w *walk) isList(name string) bool {
	for _, list := range w.of.lists {
		if name == list {
			return true
		}
	}
	return false
}

// explain says where an export is not JSON, and nothing of what is there.
func (w *walk) explain(err error) error {
	if failed := w.source.in.failed; failed != nil {
		return failed
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is cut off: the JSON ends in the middle")
	}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("line %d is not JSON", w.lines.at(syntactic.ByteOffset))
	}
	return err
}

// lineCounter tells which line an offset is on. Offsets are asked for in their order.
type lineCounter struct {
	in     io.Reader
	read   int64
	ends   []int64 // of lines behind the last offset that was asked for
	passed int     // lines before it
}

func (c *lineCounter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	for i, b := range p[:n] {
		if b == '\n' {
			c.ends = append(c.ends, c.read+int64(i))
		}
	}
	c.read += int64(n)
	return n, err
}

func (c *lineCounter) at(offset int64) int {
	for len(c.ends) > 0 && c.ends[0] < offset {
		c.ends = c.ends[1:]
		c.passed++
	}
	return c.passed + 1
}
