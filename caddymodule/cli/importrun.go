package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"slices"
	"sync"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/migrate"
)

// importRun is one import. One goroutine reads keys and sends them, while another reads
// the answers.
type importRun struct {
	file     string
	format   migrate.Format
	dryRun   bool
	expected int64 // keys, or unknownLength

	mu       sync.Mutex
	sent     []migrate.Entry // that have yet to be answered, in their order
	again    []migrate.Entry // that are to be sent again, under the other name
	answered int             // the last line that was answered
	report   importReport
	broken   error // why the export could not be read to its end
	foreign  bool  // whether a token that was sent may have another form than the gateway's own
}

// do imports, and prints a report.
func (r *importRun) do(ctx context.Context, t *terminal, log io.Writer, entries iter.Seq2[migrate.Entry, error]) error {
	r.report = importReport{File: r.file, From: string(r.format), DryRun: r.dryRun}
	err := r.send(ctx, t.client, log, entries)
	if again := r.renamed(); err == nil && len(again) > 0 {
		r.expected = int64(len(again))
		err = r.send(ctx, t.client, log, func(yield func(migrate.Entry, error) bool) {
			for _, entry := range again {
				if !yield(entry, nil) {
					return
				}
			}
		})
	}
	// After an error, the export may still be read.
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(r.report.Lines, func(a, b importReportLine) int { return a.Line - b.Line })
	switch {
	case err != nil:
		err = r.failure(ctx, err)
	case r.broken != nil:
		err = fmt.Errorf("%s cannot be read: %w", r.file, r.broken)
	case r.report.total() == 0:
		return fmt.Errorf("%s has no keys", r.file)
	case r.report.Refused > 0:
		err = r.report.refusal()
	}
	if r.report.total() == 0 {
		return err
	}
	return errors.Join(t.importReport(&r.report), err)
}

// send sends the keys, and notes the answers. The call begins with the first key, so that
// the server does not wait while an export is being made.
func (r *importRun) send(ctx context.Context, c *client.Client, log io.Writer, entries iter.Seq2[migrate.Entry, error]) error {
	lines, write := io.Pipe()
	begun, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = write.CloseWithError(r.write(write, entries, sync.OnceFunc(func() { close(begun) })))
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-done: // there is nothing to send
		return nil
	case <-begun:
	}
	words := "Importing keys"
	if r.dryRun {
		words = "Checking keys"
	}
	p := progressOf(log, words, r.expected, term.IsTerminal(int(os.Stderr.Fd())), progressbar.OptionShowBytes(false), progressbar.OptionShowCount())
	defer p.end()
	_, err := c.Import(ctx, lines, client.ImportOptions{DryRun: r.dryRun, Each: func(result client.ImportResult) error {
		final, err := r.answer(result)
		if final {
			_ = p.bar.Add(1)
		}
		return err
	}})
	_ = lines.Close()
	if err == nil {
		<-done
		_ = p.bar.Finish() // what was expected is an estimate
	}
	return err
}

// write sends what is to be imported, and notes the rest.
func (r *importRun) write(to io.Writer, entries iter.Seq2[migrate.Entry, error], begin func()) error {
	encoder := json.NewEncoder(to) // each line immediately: the next may be long in coming
	for entry, err := range entries {
		if send := r.note(entry, err); !send {
			continue
		}
		begin()
		if err := encoder.Encode(entry.Key); err != nil {
			return err
		}
	}
	return nil
}

// note reports whether a key is to be sent.
func (r *importRun) note(entry migrate.Entry, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.broken = err
		return false
	case entry.Err != nil:
		r.report.refuse(entry.Line, entry.Err)
		return false
	case entry.LeftOut != "":
		r.report.leaveOut(entry)
		return false
	}
	r.report.lose(entry.Lost)
	r.foreign = r.foreign || !entry.Native
	r.sent = append(r.sent, entry)
	return true
}

// sentForeign reports whether a token may have another form than the gateway's own.
func (r *importRun) sentForeign() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.foreign
}

// answer notes what became of the key that was sent before all that are not answered. It
// reports whether that is final: one that has another name is sent again, because it may
// have been imported under that.
func (r *importRun) answer(result client.ImportResult) (final bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sent) == 0 {
		return false, errors.New("the server answered for more keys than were sent to it")
	}
	entry := r.sent[0]
	r.sent = r.sent[1:]
	r.answered = max(r.answered, entry.Line)
	switch result.Outcome {
	case client.LineImported:
		r.report.Imported++
	case client.LineUnchanged:
		r.report.Unchanged++
	case client.LineRefused:
		if code := result.Err.Code; entry.OtherName != "" && (code == client.CodeNameTaken || code == client.CodeTokenTaken) {
			r.again = append(r.again, entry)
			return false, nil
		}
		r.report.refuse(entry.Line, result.Err)
	}
	return true, nil
}

// renamed returns the keys to send again, under their other names.
func (r *importRun) renamed() []migrate.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.again {
		entry := &r.again[i]
		entry.Key.Name, entry.OtherName, entry.Lost = entry.OtherName, "", nil
	}
	return r.again
}

// failure returns the error of an import that has ended early, which says how far it came.
func (r *importRun) failure(ctx context.Context, err error) error {
	const again = "Run it again to continue: keys that were already imported are then unchanged"
	interrupted := ctx.Err() != nil
	switch {
	case interrupted && r.answered == 0:
		return errors.New("interrupted before the first key was answered")
	case interrupted:
		return fmt.Errorf("interrupted after line %d of %s. %s", r.answered, r.file, again)
	case r.answered == 0:
		return err
	}
	if cause := errors.Unwrap(err); cause != nil {
		err = cause // without the line of the stream, which is another one
	}
	if transport, ok := errors.AsType[*url.Error](err); ok {
		err = transport.Err
	}
	return fmt.Errorf("the import was cut off after line %d of %s: %w. %s", r.answered, r.file, err, again)
}
