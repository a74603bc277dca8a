package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// importType is the media type of an import and of its answer: JSON, one object per line.
const importType = "application/x-ndjson"

// ImportLine is a key to import, one line of what [Client.Import] sends. A [json.Encoder]
// writes one per line.
type ImportLine struct {
	// WorkspaceID is the workspace that the key is for. Required.
	WorkspaceID string `json:"workspace_id"`
	// Name is as in [CreateRequest], and may be vague. Required.
	Name string `json:"name"`
	// Owner is as in [CreateRequest].
	Owner string `json:"owner,omitzero"`
	// Preset is [FullAccess] or [ReadOnly]. Required.
	Preset string `json:"preset"`
	// TokenSHA256 is the SHA-256 of the whole token, as 64 hexadecimal digits.
	// Required. The token itself is never sent.
	TokenSHA256 string `json:"token_sha256"`
	// TokenHint is what people recognise the token by, in at most 40 characters, such
	// as its beginning or its end: "sk_live_…x7Qz". Default: nothing.
	TokenHint string `json:"token_hint,omitzero"`
	// CreatedAt is when the key was created, which cannot be in the future. Default:
	// now.
	CreatedAt time.Time `json:"created_at,omitzero"`
	// ExpiresAt is when the key expires. Default, and maximum: as long from now as the
	// operator lets a new key live.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// ImportOptions control an import. The zero value imports, and reports only the summary.
type ImportOptions struct {
	// DryRun answers as an import would, earlier lines accounted for, and changes
	// nothing. The ids of new keys in its results are of keys that do not exist.
	DryRun bool
	// Each is called for each line, in their order, as soon as it has been answered. An
	// error ends the import: later lines may have been imported by then. It may be nil.
	Each func(ImportResult) error
}

// ImportOutcome is what became of a line.
type ImportOutcome string

// The outcomes of a line.
const (
	LineImported  ImportOutcome = "imported"
	LineUnchanged ImportOutcome = "unchanged" // the workspace has this key already
	LineRefused   ImportOutcome = "refused"
)

// ImportResult is what became of one line.
type ImportResult struct {
	// Line is its number, from 1 on. Blank lines count.
	Line int
	// KeyID is the id of the key; "" if the line was refused.
	KeyID string
	// Outcome is [LineImported], [LineUnchanged] or [LineRefused].
	Outcome ImportOutcome
	// Err is why the line was refused; nil if it was not. Its StatusCode is 0.
	Err *Error
}

// ImportSummary counts lines by their outcome.
type ImportSummary struct {
	// Imported is how many keys are new.
	Imported int `json:"imported"`
	// Unchanged is how many keys existed already.
	Unchanged int `json:"unchanged"`
	// Refused is how many lines were refused.
	Refused int `json:"refused"`
}

// importAnswer is one line of the answer: that of a line, or the summary.
type importAnswer struct {
	Line    int           `json:"line"`
	KeyID   string        `json:"key_id"`
	Outcome ImportOutcome `json:"outcome"`
	Error   string        `json:"error"`
	Code    string        `json:"code"`
	Field   string        `json:"field"`

	Imported  *int `json:"imported"`
	Unchanged *int `json:"unchanged"`
	Refused   *int `json:"refused"`
}

func (a *importAnswer) served() bool {
	if a.isSummary() {
		return true
	}
	switch a.Outcome {
	case LineImported, LineUnchanged:
		return a.Line > 0 && a.KeyID != ""
	case LineRefused:
		return a.Line > 0 && a.Error != ""
	}
	return false
}

func (a *importAnswer) isSummary() bool {
	return a.Line == 0 && a.Imported != nil && a.Unchanged != nil && a.Refused != nil
}

func (a *importAnswer) result() ImportResult {
	r := ImportResult{Line: a.Line, KeyID: a.KeyID, Outcome: a.Outcome}
	if a.Outcome == LineRefused {
		r.Err = &Error{Code: a.Code, Field: a.Field, Message: a.Error}
	}
	return r
}

func (s *ImportSummary) count(outcome ImportOutcome) {
	switch outcome {
	case LineImported:
		s.Imported++
	case LineUnchanged:
		s.Unchanged++
	case LineRefused:
		s.Refused++
	}
}

// maxImportAnswer bounds the length of one line of the answer.
const maxImportAnswer = 64 << 10

// Import creates keys whose tokens were issued elsewhere, from JSON with one [ImportLine]
// per line. Lines are sent as they are read, and answered in the meantime. A refused line
// is a result, not an error, and the others are imported: check the summary. What was
// answered is on the gateway's disk, and the same lines can be sent again: what has been
// imported is then [LineUnchanged].
//
// If the import is cut off, the error says so, and wraps [io.ErrUnexpectedEOF] where
// nothing else is known; the summary then counts the lines that were answered. No timeout
// applies to the call, but the gateway ends an import that sends nothing for a minute.
// Import does not close lines; after an error, it may still be read from for a moment.
func (c *Client) Import(ctx context.Context, lines io.Reader, options ImportOptions) (ImportSummary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // stops sending
	path := "/import"
	if options.DryRun {
		path += "?dry_run=true"
	}
	request, err := c.request(ctx, http.MethodPost, path, nil)
	if err != nil {
		return ImportSummary{}, err
	}
	sent := &importBody{from: lines}
	request.Body, request.ContentLength = sent, -1
	request.Header.Set("Content-Type", importType)
	response, err := c.withoutTimeout().Do(request)
	if err != nil {
		return ImportSummary{}, err
	}
	defer response.Body.Close()
	if err := refused(response); err != nil {
		return ImportSummary{}, err
	}
	return readImport(response.Body, options.Each, sent)
}

// readImport reads the answer to an import up to its summary.
func readImport(body io.Reader, each func(ImportResult) error, sent *importBody) (answered ImportSummary, err error) {
	scanner := bufio.NewScanner(body)
	scanner.Buffer(nil, maxImportAnswer)
	last := 0
	for scanner.Scan() {
		var answer importAnswer
		if err := json.Unmarshal(scanner.Bytes(), &answer); err != nil || !answer.served() {
			return answered, ErrNotServed
		}
		if answer.isSummary() {
			return ImportSummary{*answer.Imported, *answer.Unchanged, *answer.Refused}, nil
		}
		last = answer.Line
		answered.count(answer.Outcome)
		if each == nil {
			continue
		}
		if err := each(answer.result()); err != nil {
			return answered, err
		}
	}
	cause := errors.Join(sent.failure(), scanner.Err())
	if cause == nil {
		cause = io.ErrUnexpectedEOF
	}
	if last == 0 {
		return answered, fmt.Errorf("the import was cut off before the first line was answered: %w", cause)
	}
	return answered, fmt.Errorf("the import was cut off after line %d was answered: %w", last, cause)
}
