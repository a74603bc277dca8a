package admin

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// importType is the media type of an import and of its answer.
const importType = "application/x-ndjson"

// importedAtOnce is the maximum number of lines that are imported in one transaction. A
// fleet commits half as many at a time.
const importedAtOnce = 120

// exchange answers a request while it is still being read, and returns the outcome of the
// call for [Config.Observe], "" if there is none.
type exchange func(w http.ResponseWriter, r *http.Request) (outcome string)

// importKeys imports keys, a line each. Whatever is wrong with the request as a whole is
// refused before anything is read.
func (h *Handler) importKeys(r *http.Request) (int, any, error) {
	if err := h.keys().Ping(); err != nil {
		return 0, nil, err
	}
	dryRun, err := flagOf(r, "dry_run")
	if err != nil {
		return 0, nil, err
	}
	encoding := r.Header.Get("Content-Encoding")
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != importType || encoding != "" && encoding != "identity" {
		return 0, nil, errNotLines
	}
	return http.StatusOK, exchange(func(w http.ResponseWriter, r *http.Request) string {
		return h.exchangeLines(w, r, dryRun)
	}), nil
}

// exchangeLines reads lines, and answers them in the background.
func (h *Handler) exchangeLines(w http.ResponseWriter, r *http.Request, dryRun bool) (outcome string) {
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex() // without it, an HTTP/1 client has to send all lines first
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	leave, err := enterImport(ctx)
	if err != nil {
		return "" // the client has gone
	}
	defer leave()
	lines := newLineReader(r.Body)
	switch { // a client that asked for permission to send the body would wait for it after a status
	case strings.EqualFold(r.Header.Get("Expect"), "100-continue"):
		lines.await() // what gives it
	case r.ProtoMajor == 2:
		w.WriteHeader(http.StatusContinue) // to all: Go's server removes the header
	}
	setPrivate(w.Header())
	w.Header().Set("Content-Type", importType)
	w.WriteHeader(http.StatusOK)
	answers := newBacklog(w, control, func() {
		stop()
		_ = control.SetReadDeadline(time.Now())
	})
	i := &importing{h: h, actor: h.actor(r), remoteIP: h.RemoteIP(r), answers: answers}
	if dryRun {
		i.dryRun = newTryout(h.keys())
	}
	batches := make(chan line, importedAtOnce)
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.all(ctx, batches)
	}()
	err = lines.each(func(number int, text []byte, tooLong bool) error {
		select {
		case batches <- i.parse(number, text, tooLong):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(batches)
	<-done
	whole := err == nil && ctx.Err() == nil
	if whole {
		answers.add(appendObject(nil, i.summary))
	}
	switch sent := answers.close(); {
	case sent != nil || !whole && r.Context().Err() != nil:
		return "" // the client has gone
	case !whole:
		return errInvalidJSON.Code
	case i.failed != nil:
		return i.failed.Code
	}
	return OK
}

// importing is one import.
type importing struct {
	h        *Handler
	actor    string
	remoteIP string
	dryRun   *tryout // nil unless nothing is to be changed
	answers  *backlog
	summary  client.ImportSummary
	failed   *apikey.Error // why the key store failed: nothing is tried after that
}

// all imports lines until there are no more: as many together as there are by then, so that
// none waits for the next one to arrive.
func (i *importing) all(ctx context.Context, lines <-chan line) {
	for first := range lines {
		batch := []line{first}
		for more := true; more && len(batch) < importedAtOnce; {
			select {
			case next, open := <-lines:
				if more = open; open {
					batch = append(batch, next)
				}
			default:
				more = false
			}
		}
		if ctx.Err() == nil {
			i.some(ctx, batch)
		}
	}
}

// parse reads a line, which is short from then on.
func (i *importing) parse(number int, text []byte, tooLong bool) line {
	defer takeImportTurn()()
	l := parseLine(number, text, tooLong, i.h.Rules.Life, i.h.now())
	l.key.CreatedBy = i.actor
	return l
}

// some imports some lines, and answers them.
func (i *importing) some(ctx context.Context, batch []line) {
	now := i.h.now()
	var keys []apikey.Key
	for n := range batch {
		l := &batch[n]
		if l.err == nil && !l.key.ExpiresAt.After(now) { // it has waited for that long
			l.err = apikey.ErrInvalidExpiresAt
		}
		if l.err == nil {
			keys = append(keys, l.key)
		}
	}
	results := i.apply(ctx, keys, now)
	if ctx.Err() != nil {
		return // nobody reads the answers
	}
	i.answers.add(i.answer(batch, results))
}

// apply imports keys, and returns what became of each.
func (i *importing) apply(ctx context.Context, keys []apikey.Key, now time.Time) []apikey.Planned {
	results := make([]apikey.Planned, len(keys))
	if len(keys) == 0 {
		return results
	}
	if i.failed != nil {
		untried := &apikey.Error{Code: i.failed.Code, Message: "This line was not tried, because the key store failed at an earlier one. Send it again."}
		for n := range results {
			results[n].Err = untried
		}
		return results
	}
	if i.dryRun != nil {
		defer takeImportTurn()()
		return i.dryRun.all(ctx, keys, now)
	}
	changes := make([]apikey.Change, len(keys))
	for n, key := range keys {
		changes[n] = apikey.Change{
			EventID: apikey.NewEventID(now), At: now, Actor: i.actor, RemoteIP: i.remoteIP,
			Do: apikey.Import{Key: key}, Unrecorded: true,
		}
	}
	made, err := i.h.keys().ApplyAll(ctx, changes)
	if err == nil {
		return made
	}
	for n := range results {
		results[n].Err = err
	}
	return results
}

// answer returns the answers to some lines, one object per line. results are those of the
// lines whose keys were imported.
func (i *importing) answer(batch []line, results []apikey.Planned) (answers []byte) {
	defer takeImportTurn()()
	for _, l := range batch {
		result := apikey.Planned{Err: l.err}
		if l.err == nil {
			result, results = results[0], results[1:]
		}
		answers = appendObject(answers, i.answerTo(l.number, result))
	}
	return answers
}

// answerTo returns the answer to a line, and counts it.
func (i *importing) answerTo(number int, result apikey.Planned) any {
	if result.Err != nil {
		refusal := i.refusalOf(result.Err)
		i.summary.Refused++
		return refusedLine{Line: number, Outcome: client.LineRefused, Error: refusal.Message, Code: refusal.Code, Field: refusal.Field}
	}
	outcome := client.LineImported
	if result.Outcome.Unchanged {
		outcome = client.LineUnchanged
		i.summary.Unchanged++
	} else {
		i.summary.Imported++
	}
	return acceptedLine{Line: number, KeyID: result.Outcome.Key.ID, Outcome: outcome}
}

// appendObject appends an object of strings and numbers, in a line of its own.
func appendObject(to []byte, object any) []byte {
	encoded, _ := json.Marshal(object, jsontext.EscapeForHTML(true), jsontext.AllowInvalidUTF8(true)) // which cannot fail
	return append(append(to, encoded...), '\n')
}

// refusalOf returns the refusal that a line gets for an error. What is wrong with the key
// store is logged, once.
func (i *importing) refusalOf(err error) *apikey.Error {
	refusal, failed := refusalOf(err)
	if failed && i.failed == nil {
		i.h.Log.Error("the key store failed", zap.String("operation", "import"), zap.Error(err))
	}
	if i.failed == nil && (errors.Is(refusal, apikey.ErrStoreUnavailable) || errors.Is(refusal, apikey.ErrNoSpace)) {
		i.failed = refusal
	}
	return refusal
}

// acceptedLine answers a line whose key now exists.
type acceptedLine struct {
	Line    int                  `json:"line"`
	KeyID   string               `json:"key_id"`
	Outcome client.ImportOutcome `json:"outcome"`
}

// refusedLine answers a line that was refused.
type refusedLine struct {
	Line    int                  `json:"line"`
	Outcome client.ImportOutcome `json:"outcome"`
	Error   string               `json:"error"`
	Code    string               `json:"code"`
	Field   string               `json:"field,omitzero"`
}
