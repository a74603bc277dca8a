package migrate

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
)

// FormatOfName returns the format of an export by its file name, if only one has such
// names. JSON alone may be several.
func FormatOfName(name string) (Format, bool) {
	switch strings.ToLower(path.Ext(name)) {
	case ".jsonl", ".ndjson":
		return JSONL, true
	case ".csv":
		return CSV, true
	case ".yaml", ".yml":
		return Kong, true
	}
	return "", false
}

// FormatOfContent returns the format of an export by how it begins, if only one can begin
// so, and a reader of the whole. What is empty passes for [JSONL].
func FormatOfContent(in io.Reader) (io.Reader, Format, bool, error) {
	buffered := bufio.NewReaderSize(in, maxLine)
	start, err := buffered.Peek(maxLine)
	if err != nil && !errors.Is(err, io.EOF) && len(start) == 0 {
		return nil, "", false, err
	}
	start = bytes.TrimPrefix(start, []byte("\ufeff"))
	line, _, _ := bytes.Cut(start, []byte("\n"))
	line = bytes.TrimSpace(line)
	switch {
	case len(bytes.TrimSpace(start)) == 0:
		return buffered, JSONL, true, nil
	case bytes.HasPrefix(line, []byte("_format_version")):
		return buffered, Kong, true, nil
	case checkHeader(strings.Split(string(line), ",")) == nil:
		return buffered, CSV, true, nil
	case bytes.HasPrefix(line, []byte("{")) && bytes.HasSuffix(line, []byte("}")) && slices.ContainsFunc(own, func(name string) bool {
		return bytes.Contains(line, []byte(`"`+name+`"`))
	}):
		return buffered, JSONL, true, nil
	}
	return buffered, "", false, nil
}

// own are members that no other system's export has.
var own = []string{"workspace_id", "token_sha256", "token_hint"}
