package admin

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const calendarType = "text/calendar; charset=utf-8"

// uidDomain ends the UID of every event. It must never change, and no host has this
// name.
const uidDomain = "@caddy-api-keys.invalid"

// refreshInterval is how often a subscribing calendar should ask again. Most
// ask when they see fit.
const refreshInterval = "PT6H"

// calendarFormat is what RFC 5545 requires, on every system.
var calendarFormat = &ics.SerializationConfiguration{MaxLength: 75, PropertyMaxLength: 75, NewLine: string(ics.WithNewLineWindows)}

// calendarWriter writes active keys as an iCalendar object (RFC 5545), one after
// the other: a workspace can have many.
//
// A key that has ended is left out. A calendar that subscribes to a feed drops
// events that are no longer in it. If they stayed in it as CANCELLED, some
// calendars would show them struck out and others as if nothing had happened, and
// the feed would grow forever. A calendar that imported a file never sees a later
// feed anyway.
type calendarWriter struct {
	workspace string
	now       time.Time
	until     time.Time // when the first of the keys ends, or the calendar is too old
	events    bytes.Buffer
}

func newCalendarWriter(workspace string, now time.Time) *calendarWriter {
	return &calendarWriter{workspace: workspace, now: now, until: now.Add(calendarLife)}
}

func (c *calendarWriter) add(key *apikey.Key) error {
	if end := endOf(key); end.Before(c.until) {
		c.until = end
	}
	return eventFor(key, c.now).SerializeTo(&c.events, calendarFormat)
}

// document returns the calendar with its ETag. That is a weak one: calendars of the
// same keys differ by the time at which they were made.
func (c *calendarWriter) document() (document, error) {
	cal := ics.NewCalendar()
	cal.SetProductId("-//caddy-api-keys//EN")
	cal.SetMethod(ics.MethodPublish)
	cal.SetName("API keys of " + c.workspace) // sets X-WR-CALNAME too
	cal.SetRefreshInterval(refreshInterval)
	cal.SetXPublishedTTL(refreshInterval)
	if c.events.Len() == 0 {
		// RFC 5545 requires at least one component, and some calendars refuse an
		// object without one. A time zone that nothing uses is not shown.
		utc := cal.AddTimezone("UTC").AddStandard()
		utc.SetProperty(ics.ComponentPropertyDtStart, "19700101T000000")
		utc.SetProperty(ics.ComponentProperty(ics.PropertyTzoffsetfrom), "+0000")
		utc.SetProperty(ics.ComponentProperty(ics.PropertyTzoffsetto), "+0000")
	} else {
		cal.Components = append(cal.Components, written{text: &c.events})
	}
	var body bytes.Buffer
	body.Grow(c.events.Len() + 1024)
	err := cal.SerializeTo(&body, calendarFormat)
	return document{mediaType: calendarType, body: body.Bytes(), tag: c.tag(body.Bytes())}, err
}

func (c *calendarWriter) tag(body []byte) string {
	stamp := "DTSTAMP:" + c.now.UTC().Format("20060102T150405Z")
	sum := sha256.New()
	for part := range bytes.SplitSeq(body, []byte(stamp)) {
		sum.Write(part)
	}
	return `W/"` + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:16]) + `"`
}

// written is a component that is already serialized; only that is asked of it.
type written struct {
	ics.Component
	text *bytes.Buffer
}

func (c written) SerializeTo(w io.Writer, _ *ics.SerializationConfiguration) error {
	_, err := c.text.WriteTo(w)
	return err
}

// eventFor returns the event at which a key ends.
//
// Its UID is the same for the life of the key, so that a calendar moves the event
// when the end changes. A higher SEQUENCE says that it has moved: because a key's
// end changes only when the key is replaced, that is the number of seconds from its
// creation until then. DTSTAMP is the time of the response, for calendars that
// compare nothing else, and for a changed name.
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

// endOf returns when an active key will end if nothing else changes.
func endOf(key *apikey.Key) time.Time {
	if at := key.RevokesAt; !at.IsZero() && at.Before(key.ExpiresAt) {
		return at
	}
	return key.ExpiresAt
}

// summaryOf starts with fixed text: what a user typed could be a formula in a
// spreadsheet that the calendar is exported to.
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
