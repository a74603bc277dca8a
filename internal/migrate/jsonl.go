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

// fill puts the key of a row into an entry.
func (r *row) fill(entry *Entry, options Options) (flaw *client.Error) {
	entry.Key = client.ImportLine{WorkspaceID: r.WorkspaceID, Name: r.Name, Owner: r.Owner, Preset: strings.ReplaceAll(r.Preset, "-", "_"), TokenSHA256: r.TokenSHA256, TokenHint: r.TokenHint}
	if entry.Key.CreatedAt, flaw = moment("created_at", r.CreatedAt); flaw != nil {
		return flaw
	}
	if entry.Key.ExpiresAt, flaw = moment("expires_at", r.ExpiresAt); flaw != nil {
		return flaw
	}
	switch {
	case r.Token != "" && r.TokenSHA256 != "":
		return refuse("invalid_token_sha256", "token_sha256", "There are a token and a token_sha256: remove one of them.")
	case r.Token != "":
		return entry.hash(r.Token, options)
	case r.TokenSHA256 == "":
		return refuse("invalid_token_sha256", "token_sha256", "There is neither a token_sha256 nor a token: add one of them.")
	}
	return nil
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

// jsonl reads JSON with one object per line. Blank lines are skipped.
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
			entry.Err = fillLine(&entry, text, s.options)
		}
		if !yield(entry) || err != nil {
			return nil
		}
	}
}

// fillLine puts the key of one line of JSONL into an entry.
func fillLine(entry *Entry, text []byte, options Options) *client.Error {
	var r row
	if err := json.Unmarshal(text, &r, json.RejectUnknownMembers(true)); err != nil {
		return refuse(client.CodeInvalidJSON, "", "The line is not a JSON object with the members of a key"+Flaw(err)+".")
	}
	return r.fill(entry, options)
}

// plainName is the name of a member that is certainly not a secret.
var plainName = regexp.MustCompile(`^[A-Za-z_]{1,32}$`)

// Flaw names the member that an error of JSON is about, and nothing of its value, as the
// end of a sentence: ": the member x is unknown", or "".
func Flaw(err error) string {
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
