package admin

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const maxBody = 64 << 10

// decode decodes a request body into a pointer to a struct. It takes a single JSON
// object, and refuses anything that two parsers could interpret differently:
// unknown members, duplicate members, members in another case, null (which could
// mean "none" or "unchanged"), invalid UTF-8. An empty body is an empty object.
func decode(r *http.Request, into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return errBodyTooLarge
	}
	if err != nil {
		return explainJSON("the body could not be read")
	}
	if len(body) == 0 {
		return nil
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return errNotJSON
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return errNotJSON
	}
	if why := decodeObject(body, into); why != "" {
		return explainJSON(why)
	}
	return nil
}

// decodeObject decodes JSON like decode, and returns what is wrong with it, or "".
func decodeObject(body []byte, into any) (why string) {
	if kind := jsontext.Value(body).Kind(); kind != '{' || bytes.HasPrefix(body, []byte("{\x00")) {
		return notAnObject(body)
	}
	if err := json.Unmarshal(body, into, json.RejectUnknownMembers(true)); err != nil {
		return describeJSONError(err)
	}
	if name := nullMember(body); name != "" {
		return "its member " + name + " is null: leave it out"
	}
	return ""
}

// nullMember returns the name of the first null member of a valid object with known
// members.
func nullMember(object jsontext.Value) string {
	in := jsontext.NewDecoder(bytes.NewReader(object))
	_, _ = in.ReadToken()
	for in.PeekKind() == '"' {
		name, _ := in.ReadToken()
		member := name.String()
		if in.PeekKind() == 'n' {
			return member
		}
		_ = in.SkipValue()
	}
	return ""
}

func explainJSON(why string) error {
	return &apikey.Error{Code: errInvalidJSON.Code, Message: "The body is not the JSON object that this call expects: " + why + "."}
}

// notAnObject returns what is wrong with a body that does not begin like an object.
func notAnObject(body []byte) string {
	switch {
	case bytes.HasPrefix(body, []byte("\ufeff")):
		return "it begins with a byte-order mark: send UTF-8 without one"
	case bytes.HasPrefix(body, []byte("\xff\xfe")), bytes.HasPrefix(body, []byte("\xfe\xff")), bytes.HasPrefix(body, []byte("\x00")), bytes.HasPrefix(body, []byte("{\x00")):
		return "it is in UTF-16 or UTF-32: send UTF-8"
	}
	return "it is not an object"
}

// describeJSONError says where JSON is invalid, without quoting any of its values:
// one may be a token.
func describeJSONError(err error) string {
	if twice, ok := errors.AsType[*jsontext.SyntacticError](err); ok && errors.Is(err, jsontext.ErrDuplicateName) {
		return "the member " + quoted(twice.JSONPointer.LastToken()) + " appears twice"
	}
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		name := semantic.JSONPointer.LastToken()
		switch {
		case errors.Is(err, json.ErrUnknownName):
			return "it has the unknown member " + quoted(name)
		case name != "":
			return "its member " + name + " has the wrong type"
		}
	}
	return "it is not valid JSON"
}

// longestQuote bounds how much of an invented member name an error quotes.
const longestQuote = 40

// quoted returns a member's name for an error message: without control characters
// or tokens, and truncated.
func quoted(name string) string {
	if apikey.HoldsToken(name) {
		return "(a token)"
	}
	if runes := []rune(name); len(runes) > longestQuote {
		name = string(runes[:longestQuote]) + "…"
	}
	return strconv.Quote(name)
}

// document is a response that is already encoded.
type document struct {
	mediaType string
	body      []byte
	tag       string // its ETag; "" for none
	share     *share // limits how fast it is sent; nil for no limit
}

// documentOf encodes a response, unless it is a document.
func documentOf(answer any) (document, error) {
	if ready, ok := answer.(document); ok {
		return ready, nil
	}
	encoded, err := json.Marshal(answer, jsontext.EscapeForHTML(true), json.Deterministic(true))
	return document{mediaType: "application/json", body: append(encoded, '\n')}, err
}

// setPrivate sets the headers of every response: it may not be cached or sniffed, nor may
// its URL be sent to other sites, because that of a feed contains a secret.
func setPrivate(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
}

// answer writes a response, with the headers that every response has.
func (h *Handler) answer(w http.ResponseWriter, status int, body any) {
	header := w.Header()
	setPrivate(header)
	sent, err := documentOf(body)
	if err != nil {
		h.Log.Error("the answer could not be encoded", zap.Error(err))
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	header.Set("Content-Type", sent.mediaType)
	w.WriteHeader(status)
	_, _ = w.Write(sent.body)
}

// answerTagged writes a document, or status 304 if the caller already has it (RFC
// 9110, section 13).
func (h *Handler) answerTagged(w http.ResponseWriter, r *http.Request, sent document) {
	header := w.Header()
	setPrivate(header)
	header.Set("Content-Type", sent.mediaType)
	header.Set("ETag", sent.tag)
	content := io.ReadSeeker(bytes.NewReader(sent.body))
	if sent.share != nil {
		defer sent.share.leave()
		content = sent.share.content(w, r, content)
	}
	http.ServeContent(w, r, "", time.Time{}, content)
}
