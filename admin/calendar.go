package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const calendarType = "text/calendar; charset=utf-8"

// uidDomain ends the UID of every event. It never changes, and no host has it.
const uidDomain = "@caddy-api-keys.invalid"

// refreshInterval is how often a subscribing calendar should ask again. Most
// ask when they see fit.
const refreshInterval = "PT6H"

// showCalendar answers with the ends of a workspace's active keys, or of one of
// them.
func (h *Handler) showCalendar(r *http.Request) (int, any, error) {
	ws, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	query, err := queryOf(r, "key")
	if err != nil {
		return 0, nil, err
	}
	if id := query.Get("key"); id != "" {
		return h.reminder(r.Context(), ws, id)
	}
	return h.calendar(r.Context(), ws)
}

// reminder is a calendar with the end of one key, if it is active.
func (h *Handler) reminder(ctx context.Context, ws, id string) (int, any, error) {
	if !apikey.ValidKeyID(id) {
		return 0, nil, apikey.ErrNotFound
	}
	key, err := h.Keys().Key(ctx, ws, id)
	if err != nil {
		return 0, nil, err
	}
	now := h.now()
	var keys []*apikey.Key
	if key.Status(now) == apikey.Active {
		keys = append(keys, key)
	}
	return http.StatusOK, calendarDocument(ws, keys, now), nil
}

// calendar answers with the ends of all active keys of a workspace.
func (h *Handler) calendar(ctx context.Context, ws string) (int, any, error) {
	keys, now := h.Keys(), h.now()
	made, err := h.calendars.get(ctx, keys, ws, now, func(ctx context.Context) (calendar, error) {
		active, err := keys.ActiveKeys(ctx, ws, now)
		if err != nil {
			return calendar{}, err
		}
		return newCalendar(ws, active, now), nil
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, made, nil
}

// newCalendar makes a calendar of a workspace's active keys, the one that ends first
// first.
func newCalendar(ws string, active []*apikey.Key, now time.Time) calendar {
	slices.SortFunc(active, func(a, b *apikey.Key) int {
		return cmp.Or(endOf(a).Compare(endOf(b)), strings.Compare(a.ID, b.ID))
	})
	until := now.Add(calendarLife)
	if len(active) > 0 && endOf(active[0]).Before(until) {
		until = endOf(active[0])
	}
	return calendar{document: calendarDocument(ws, active, now), until: until}
}

// calendarDocument returns keys as a calendar with its tag. That is a weak one: what
// was made at another time says so, and is the same calendar.
func calendarDocument(ws string, keys []*apikey.Key, now time.Time) document {
	body := calendarOf(ws, keys, now)
	stamp := "DTSTAMP:" + now.UTC().Format("20060102T150405Z")
	sum := sha256.Sum256([]byte(strings.ReplaceAll(body, stamp, "")))
	return document{mediaType: calendarType, body: []byte(body), tag: `W/"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
}

// calendarOf returns keys as an iCalendar object (RFC 5545).
//
// A key that has ended is not in it. A calendar that subscribes takes the feed
// for the whole truth and drops the events that are gone from it; an event that
// is kept as CANCELLED it shows struck out, or as if nothing had happened, and
// the feed would grow with every key that there ever was. A calendar that a
// file was imported into learns nothing more, whatever later feeds say.
func calendarOf(ws string, keys []*apikey.Key, now time.Time) string {
	cal := ics.NewCalendar()
	cal.SetProductId("-//caddy-api-keys//EN")
	cal.SetMethod(ics.MethodPublish)
	cal.SetName("API keys of " + ws) // X-WR-CALNAME as well
	cal.SetRefreshInterval(refreshInterval)
	cal.SetXPublishedTTL(refreshInterval)
	for _, key := range keys {
		cal.AddVEvent(eventFor(key, now))
	}
	if len(keys) == 0 {
		// RFC 5545 knows no calendar without a component, and some that subscribe
		// refuse one. A time zone that nothing uses shows nowhere.
		utc := cal.AddTimezone("UTC").AddStandard()
		utc.SetProperty(ics.ComponentPropertyDtStart, "19700101T000000")
		utc.SetProperty(ics.ComponentProperty(ics.PropertyTzoffsetfrom), "+0000")
		utc.SetProperty(ics.ComponentProperty(ics.PropertyTzoffsetto), "+0000")
	}
	return cal.Serialize(ics.WithNewLineWindows) // what RFC 5545 wants, on every system
}

// eventFor returns the event at which a key ends.
//
// Its UID stays the same for as long as the key is there, so that a calendar
// moves the event when the end does. What says that it moved is SEQUENCE: a
// key's end changes when the key is replaced and at no other time, so the
// seconds from its creation until then only ever grow. DTSTAMP is the time of
// the answer, which settles it where a calendar compares nothing else, as after
// a new name.
func eventFor(key *apikey.Key, now time.Time) *ics.VEvent {
	event := ics.NewEvent(key.ID + uidDomain)
	event.SetDtStampTime(now)
	event.SetCreatedTime(key.CreatedAt)
	event.SetModifiedAt(key.CreatedAt)
	event.SetSequence(0)
	if !key.ReplacedAt.IsZero() {
		event.SetModifiedAt(key.ReplacedAt)
		event.SetSequence(1 + int(key.ReplacedAt.Sub(key.CreatedAt)/time.Second))
	}
	event.SetStartAt(endOf(key))
	event.SetTimeTransparency(ics.TransparencyTransparent) // nobody is busy then
	summary := summaryOf(key)
	event.SetSummary(summary)
	event.SetDescription(descriptionOf(key))
	for _, before := range []string{"-P14D", "-P3D"} {
		alarm := event.AddAlarm()
		alarm.SetAction(ics.ActionDisplay)
		alarm.SetTrigger(before)
		alarm.SetDescription(summary)
	}
	return event
}

// endOf returns when an active key ends if nobody does anything.
func endOf(key *apikey.Key) time.Time {
	if at := key.RevokesAt; !at.IsZero() && at.Before(key.ExpiresAt) {
		return at
	}
	return key.ExpiresAt
}

// summaryOf begins with words of ours: what users typed could be a formula to
// whatever the calendar is exported to.
func summaryOf(key *apikey.Key) string {
	what := "expires"
	if endOf(key) != key.ExpiresAt {
		what = "is revoked"
	}
	summary := fmt.Sprintf("API key %s: %s", what, key.Name)
	if key.Owner != "" {
		summary += " (" + key.Owner + ")"
	}
	return summary
}

func descriptionOf(key *apikey.Key) string {
	lines := []string{"Name: " + key.Name}
	if key.Owner != "" {
		lines = append(lines, "Owner: "+key.Owner)
	}
	lines = append(lines,
		"Access: "+strings.ReplaceAll(string(key.Preset), "_", " "),
		"Token: "+key.TokenHint,
		"Key: "+key.ID,
	)
	if key.ReplacedBy != "" {
		lines = append(lines, "Replaced by: "+key.ReplacedBy)
	} else {
		lines = append(lines, "Rotate it before then: its requests are refused afterwards.")
	}
	return strings.Join(lines, "\n")
}
