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

// decode reads the body of a request into a pointer to a struct. It takes one
// JSON object and nothing beside it, and refuses what two readers could
// understand differently: unknown members, members twice or in another case,
// null, which could mean none or nothing, invalid UTF-8. No body at all is an
// empty object.
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
	if kind := jsontext.Value(body).Kind(); kind != '{' || bytes.HasPrefix(body, []byte("{\x00")) {
		return explainJSON(notAnObject(body))
	}
	if err := json.Unmarshal(body, into, json.RejectUnknownMembers(true)); err != nil {
		return explainJSON(describeJSONError(err))
	}
	if name := nullMember(body); name != "" {
		return explainJSON("its member " + name + " is null: leave it out")
	}
	return nil
}

// nullMember returns the name of the first member that is null, of an object
// that was found to be valid and to have known members alone.
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

// notAnObject says why a body does not begin as an object does.
func notAnObject(body []byte) string {
	switch {
	case bytes.HasPrefix(body, []byte("\ufeff")):
		return "it begins with a byte-order mark: send UTF-8 without one"
	case bytes.HasPrefix(body, []byte("\xff\xfe")), bytes.HasPrefix(body, []byte("\xfe\xff")), bytes.HasPrefix(body, []byte("\x00")), bytes.HasPrefix(body, []byte("{\x00")):
		return "it is in UTF-16 or UTF-32: send UTF-8"
	}
	return "it is not an object"
}

// describeJSONError says where the JSON is invalid, without quoting any of its
// values: one may be a token.
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

// longestQuote bounds what is repeated of a name that a client made up.
const longestQuote = 40

// quoted returns the name of a member as it can be shown: without control characters, cut
// where it is long, and without a token that stands in its place.
func quoted(name string) string {
	if apikey.HoldsToken(name) {
		return "(a token)"
	}
	if runes := []rune(name); len(runes) > longestQuote {
		name = string(runes[:longestQuote]) + "…"
	}
	return strconv.Quote(name)
}

// document is an answer that is not JSON.
type document struct {
	mediaType string
	body      []byte
	tag       string // its ETag, "" for none
	share     *share // what sending it is taken from, nil for nothing
}

// documentOf returns an answer as it is sent.
func documentOf(answer any) (document, error) {
	if ready, ok := answer.(document); ok {
		return ready, nil
	}
	encoded, err := json.Marshal(answer, jsontext.EscapeForHTML(true), json.Deterministic(true))
	return document{mediaType: "application/json", body: append(encoded, '\n')}, err
}

// setPrivate sets the headers of every answer: nothing keeps a copy of it, takes it for
// something else, or tells others its URL, in which a feed has its secret.
func setPrivate(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
}

// answer writes a status and a body, with what every answer has.
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

// answerTagged writes a document, or that the caller has it already (RFC 9110,
// section 13).
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
