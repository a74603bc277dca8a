package migrate

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// maxLine is the longest line that the gateway takes.
const maxLine = 64 << 10

// row is a line of JSONL, or of CSV with its columns as members.
type row struct {
	WorkspaceID string  `json:"workspace_id"`
	Name        string  `json:"name"`
	Owner       string  `json:"owner"`
	Preset      string  `json:"preset"`
	TokenSHA256 string  `json:"token_sha256"`
	Token       string  `json:"token"`
	TokenHint   string  `json:"token_hint"`
	CreatedAt   *string `json:"created_at"`
	ExpiresAt   *string `json:"expires_at"`
}

// line returns the key of a row.
func (r *row) line() (client.ImportLine, *client.Error) {
	line := client.ImportLine{WorkspaceID: r.WorkspaceID, Name: r.Name, Owner: r.Owner, Preset: strings.ReplaceAll(r.Preset, "-", "_"), TokenSHA256: r.TokenSHA256, TokenHint: r.TokenHint}
	var flaw *client.Error
	if line.CreatedAt, flaw = moment("created_at", r.CreatedAt); flaw != nil {
		return line, flaw
	}
	if line.ExpiresAt, flaw = moment("expires_at", r.ExpiresAt); flaw != nil {
		return line, flaw
	}
	switch {
	case r.Token != "" && r.TokenSHA256 != "":
		return line, refuse("invalid_token_sha256", "token_sha256", "There are a token and a token_sha256: remove one of them.")
	case r.Token != "":
		return line, hash(&line, r.Token)
	case r.TokenSHA256 == "":
		return line, refuse("invalid_token_sha256", "token_sha256", "There is neither a token_sha256 nor a token: add one of them.")
	}
	return line, nil
}

func moment(field string, text *string) (time.Time, *client.Error) {
	if text == nil {
		return time.Time{}, nil
	}
	for _, form := range timeForms {
		if at, err := time.Parse(form, *text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, refuse("invalid_"+field, field, "This is not a time with its time zone, such as 2027-01-31T00:00:00Z: "+field+".")
}

// timeForms are the forms of times: RFC 3339, and two in which PostgreSQL writes a
// timestamptz.
var timeForms = []string{time.RFC3339, "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05Z07:00"}

// jsonl reads JSON that has an object a line. Blank lines are skipped.
func (s *source) jsonl(yield func(Entry) bool) error {
	in := bufio.NewReaderSize(s.in, maxLine)
	for n := 1; ; n++ {
		s.in.next()
		text, err := in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			s.in.next()
			_, err = in.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		entry := Entry{Line: n}
		switch {
		case long:
			entry.Err = refuse(client.CodeInvalidJSON, "", "The line is longer than 64 KiB.")
		case len(bytes.TrimSpace(text)) == 0 && err == nil:
			continue
		case len(bytes.TrimSpace(text)) == 0:
			return nil
		default:
			entry.Key, entry.Err = parseRow(text)
		}
		if !yield(entry) || err != nil {
			return nil
		}
	}
}

// parseRow reads one line of JSONL.
func parseRow(text []byte) (client.ImportLine, *client.Error) {
	var r row
	if err := json.Unmarshal(text, &r, json.RejectUnknownMembers(true)); err != nil {
		return client.ImportLine{}, refuse(client.CodeInvalidJSON, "", "The line is not a JSON object with the members of a key"+where(err)+".")
	}
	return r.line()
}

// plainName is the name of a member that is certainly not a secret.
var plainName = regexp.MustCompile(`^[A-Za-z_]{1,32}$`)

// where names the member that an error is about, and nothing of its value.
func where(err error) string {
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return ""
	}
	name := semantic.JSONPointer.LastToken()
	switch {
	case !plainName.MatchString(name):
		return ""
	case errors.Is(err, json.ErrUnknownName):
		return ": the member " + name + " is unknown"
	}
	return ": the member " + name + " has the wrong type"
}
