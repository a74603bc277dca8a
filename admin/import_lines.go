package admin

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// lineReader reads the lines of an import. It never holds more than one of them.
type lineReader struct {
	in     *bufio.Reader
	number int // of the last line
}

func newLineReader(body io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(body, maxBody+len("\r\n"))}
}

// await waits for the first byte, the end, or an error.
func (r *lineReader) await() { _, _ = r.in.Peek(1) }

// each calls visit for each line that is not blank; the text is that of one which is not too
// long, and is valid until visit returns. A line that cannot be read to its end, because the
// body could not be, is not visited.
func (r *lineReader) each(visit func(number int, text []byte, tooLong bool) error) error {
	for {
		text, tooLong, err := r.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		r.number++
		if tooLong || len(text) > 0 {
			if visitErr := visit(r.number, text, tooLong); visitErr != nil {
				return visitErr
			}
		}
		if err != nil {
			return nil
		}
	}
}

// next returns the next line without the space around it, valid until the next call. A line
// that is too long is skipped. The error io.EOF comes with the last line.
func (r *lineReader) next() (text []byte, tooLong bool, err error) {
	text, err = r.in.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		tooLong = true
		_, err = r.in.ReadSlice('\n')
	}
	if tooLong {
		return nil, true, err
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	return bytes.Trim(text, " \t\r"), len(text) > maxBody, err
}
