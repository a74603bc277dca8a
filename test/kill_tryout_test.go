package test

import (
	"fmt"
	"strings"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// tryOut asks for what a workspace has in every other way than by its lists: its
// counts, its calendar, and keys by their ids, their tokens and their names.
func (w *tenant) tryOut(ids []string) error {
	if err := w.count(); err != nil {
		return err
	}
	for _, id := range ids {
		if err := w.tryKey(id); err != nil {
			return err
		}
	}
	for _, id := range w.some(active) {
		if err := w.wantTaken(w.keys[id].Name); err != nil {
			return err
		}
	}
	if err := w.wantCalendar(w.api.Calendar(w.t.Context(), w.id, client.CalendarOptions{})); err != nil {
		return err
	}
	if w.feed != "" {
		if err := w.wantCalendar(w.api.ReadFeed(w.t.Context(), w.feed, "")); err != nil {
			return err
		}
	}
	for _, path := range w.oldFeeds {
		if _, err := w.api.ReadFeed(w.t.Context(), path, ""); err == nil {
			return fmt.Errorf("%w: the feed %s still answers", errWrong, path)
		} else if codeOf(err) != client.CodeNotFound {
			return err
		}
	}
	return nil
}

// tryKey asks for a key by its id, and both planes whose its token is.
func (w *tenant) tryKey(id string) error {
	shown, err := w.api.ShowKey(w.t.Context(), w.id, id)
	if err != nil {
		return err
	}
	if err := w.wantKey(shown); err != nil {
		return err
	}
	token, ok := w.tokens[id]
	if !ok {
		return nil // it was never answered
	}
	if err := w.wantUse(id); err != nil {
		return err
	}
	w.begin(event("lookup", id))
	found, err := w.api.LookUpToken(w.t.Context(), token)
	if err != nil {
		return err
	}
	w.done()
	return w.wantKey(found)
}

// wantCalendar wants that a calendar has the active keys, and no others.
func (w *tenant) wantCalendar(answer client.Calendar, err error) error {
	if err != nil {
		return err
	}
	calendar, active := string(answer.Data), w.some(active)
	for _, id := range active {
		if !strings.Contains(calendar, "UID:"+id+"@") {
			return fmt.Errorf("%w: the calendar lacks %s", errWrong, id)
		}
	}
	if n := strings.Count(calendar, "BEGIN:VEVENT"); n != len(active) {
		return fmt.Errorf("%w: the calendar has %d events, of %d active keys", errWrong, n, len(active))
	}
	return nil
}
