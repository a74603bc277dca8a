package migrate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// columns are those that a CSV may have.
var columns = []string{"workspace_id", "name", "owner", "preset", "token_sha256", "token", "token_hint", "created_at", "expires_at"}

// csv reads comma-separated values whose header has the names of the members.
func (s *source) csv(yield func(Entry) bool) error {
	in := csv.NewReader(s.in)
	in.ReuseRecord = true
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return csvError(err)
	}
	header = slices.Clone(header)
	if err := checkHeader(header); err != nil {
		return err
	}
	for {
		s.in.next()
		record, err := in.Read()
		if s.in.failed != nil {
			return s.in.failed
		}
		entry := Entry{}
		switch flaw, ok := errors.AsType[*csv.ParseError](err); {
		case errors.Is(err, io.EOF):
			return nil
		case ok && errors.Is(err, csv.ErrFieldCount):
			entry.Line = flaw.StartLine
			entry.Err = refuse("invalid_csv", "", fmt.Sprintf("There are %d values, and %d columns.", len(record), len(header)))
		case ok:
			entry.Line = flaw.StartLine
			entry.Err = refuse("invalid_csv", "", "A quotation mark is misplaced: put a value with commas or quotation marks in quotation marks, and double those within.")
		default:
			entry.Line, _ = in.FieldPos(0)
			entry.Err = rowOf(header, record).fill(&entry, s.options)
		}
		if !yield(entry) {
			return nil
		}
	}
}

// checkHeader refuses a header with unknown columns: what they say would be lost without
// a word.
func checkHeader(header []string) error {
	for i, column := range header {
		if !slices.Contains(columns, column) {
			return fmt.Errorf("line 1 is not a header: column %d is none of %s%s", i+1, strings.Join(columns, ", "), Separator(header))
		}
		if slices.Contains(header[:i], column) {
			return fmt.Errorf("line 1 has the column %s twice", column)
		}
	}
	if !slices.Contains(header, "token_sha256") && !slices.Contains(header, "token") {
		return errors.New("line 1 has neither a column token_sha256 nor a column token")
	}
	return nil
}

// Separator says, as another sentence, that values are to be separated with commas, if a
// header looks as if they were separated otherwise. It is "" if not.
func Separator(header []string) string {
	if len(header) == 1 && strings.ContainsAny(header[0], ";\t") {
		return ". Separate values with commas"
	}
	return ""
}

func csvError(err error) error {
	if flaw, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("line %d is not CSV: %w", flaw.Line, flaw.Err)
	}
	return err
}

// rowOf returns the key of a record. An empty value is one that is not given.
func rowOf(header, record []string) *row {
	r := new(row)
	for i, column := range header {
		value := strings.Clone(record[i])
		if value == "" {
			continue
		}
		switch column {
		case "workspace_id":
			r.WorkspaceID = value
		case "name":
			r.Name = value
		case "owner":
			r.Owner = value
		case "preset":
			r.Preset = value
		case "token_sha256":
			r.TokenSHA256 = value
		case "token":
			r.Token = value
		case "token_hint":
			r.TokenHint = value
		case "created_at":
			r.CreatedAt = &value
		case "expires_at":
			r.ExpiresAt = &value
		}
	}
	return r
}
