package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// terminal prints the answers of one command, in the form that was asked for.
type terminal struct {
	client *client.Client
	config []byte // that --config names, as JSON; nil where none is named
	form   string // table, json or token
	out    io.Writer
	now    time.Time
	width  int // of the terminal; 0 where there is none
}

func newTerminal(cmd *cobra.Command) (*terminal, error) {
	t := &terminal{form: cmd.Flag("output").Value.String(), out: cmd.OutOrStdout(), now: time.Now()}
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		t.width = width
	}
	switch t.form {
	case "table", "json":
	case "token":
		if cmd.Name() != "create" && cmd.Name() != "rotate" {
			return nil, usagef("-o token is for commands that make a token")
		}
	case "":
		t.form = "json"
		if term.IsTerminal(int(os.Stdout.Fd())) {
			t.form = "table"
		}
	default:
		return nil, usagef("-o %s is not table, json or token", t.form)
	}
	var err error
	if t.config, err = readConfig(cmd.Flag("config").Value.String(), cmd.Flag("adapter").Value.String(), cmd.InOrStdin()); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	t.client, err = newClient(cmd, t.config)
	return t, err
}

// json prints an answer as the API gave it.
func (t *terminal) json(answer any) error {
	encoded, err := json.Marshal(answer, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.out, "%s\n", visibleJSON(string(encoded)))
	return err
}

// visibleJSON escapes what JSON lets stand and a terminal would obey: who made
// a change can be any text. It means the same.
func visibleJSON(encoded string) string {
	return apikey.ReplaceInvisible(encoded, func(r rune) string {
		switch {
		case r == '\n': // only ever between members
			return "\n"
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			return fmt.Sprintf(`\u%04x\u%04x`, high, low)
		}
		return fmt.Sprintf(`\u%04x`, r)
	})
}

// created prints a new key, and its token this once.
func (t *terminal) created(created client.NewKey) error {
	switch t.form {
	case "token":
		return t.token("%s\n", created.Token)
	case "json":
		return t.json(created)
	}
	if err := t.details(created.Key); err != nil {
		return err
	}
	return t.token(tokenForPeople, created.Token)
}

// unwritten returns the error of a token that was made and could not be printed.
// Nobody has it, and no call gives it again.
func unwritten(key client.Key, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s was made, but its token could not be written, and cannot be shown again: revoke it (%w)", key.ID, err)
}

// tokenForPeople is how a token is printed for a person to copy.
const tokenForPeople = "\nThe token, shown this once. Keep it in a secret manager:\n\n  %s\n"

// token prints the token that a server has made, unless it is something else.
func (t *terminal) token(format, token string) error {
	if _, ok := apikey.ParseToken(token); !ok {
		return errors.New("what the server sent is not a token")
	}
	return say(t.out, format, token)
}

// rotated prints a replacement, its token this once, and what becomes of the
// key that it replaces.
func (t *terminal) rotated(rotation client.Rotation) error {
	switch t.form {
	case "token":
		return t.token("%s\n", rotation.Token)
	case "json":
		return t.json(rotation)
	}
	if err := t.details(rotation.Key); err != nil {
		return err
	}
	if err := t.token(tokenForPeople, rotation.Token); err != nil {
		return err
	}
	return say(t.out, "\nThe old key, %s, %s.\n", rotation.Replaced.ID, t.future(rotation.Replaced))
}

// future says how long a replaced key goes on.
func (t *terminal) future(old client.Key) string {
	switch {
	case old.RevokedAt != nil:
		return "is revoked"
	case old.RevokesAt != nil:
		return "will be revoked at " + t.moment(old.RevokesAt)
	}
	return "goes on until " + t.moment(&old.ExpiresAt) + ": revoke it when the new one is in place"
}

// workspace prints one workspace.
func (t *terminal) workspace(ws client.Workspace) error {
	if t.form == "json" {
		return t.json(map[string]any{"workspace": ws})
	}
	var lines table
	lines.row("Workspace", ws.ID)
	if ws.Suspended {
		lines.row("Suspended", "since "+t.moment(ws.SuspendedAt))
	} else {
		lines.row("Suspended", "no")
	}
	if ws.Reason != nil {
		lines.row("Reason", *ws.Reason)
	}
	lines.row("Keys", fmt.Sprintf("%d active, %d expired, %d revoked", ws.Keys.Active, ws.Keys.Expired, ws.Keys.Revoked))
	return lines.write(t.out)
}

// revokedAll prints how many keys were revoked.
func (t *terminal) revokedAll(revoked int, ws string) error {
	if t.form == "json" {
		return t.json(map[string]any{"revoked": revoked})
	}
	return say(t.out, "%s of %s revoked.\n", plural(revoked, "key"), ws)
}

// events prints a page of the audit trail.
func (t *terminal) events(page client.EventPage) error {
	if t.form == "json" {
		return t.json(page)
	}
	if len(page.Events) == 0 {
		return say(t.out, "No events.\n")
	}
	list := table{fit: t.width, shorten: []int{1, 6}}
	list.row("AT", "WHO", "FROM", "WHAT", "WORKSPACE", "KEY", "REASON")
	for _, event := range page.Events {
		what := event.Operation
		if refused, ok := event.Details["refused"].(string); ok {
			what += " (refused: " + refused + ")"
		}
		reason, _ := event.Details["reason"].(string)
		list.row(event.At.UTC().Format("2006-01-02 15:04:05"), event.Actor, event.RemoteIP, what, event.WorkspaceID, event.KeyID, reason)
	}
	return t.more(list, page.NextCursor)
}

func (t *terminal) suspensions(page client.SuspensionPage) error {
	if t.form == "json" {
		return t.json(page)
	}
	if len(page.Suspensions) == 0 {
		return say(t.out, "No workspace is suspended.\n")
	}
	list := table{fit: t.width, shorten: []int{2}}
	list.row("WORKSPACE", "SINCE", "REASON")
	for _, s := range page.Suspensions {
		list.row(s.WorkspaceID, s.SuspendedAt.UTC().Format("2006-01-02 15:04:05"), s.Reason)
	}
	return t.more(list, page.NextCursor)
}

// more ends a table, and says how to see what follows.
func (t *terminal) more(list table, cursor *string) error {
	if err := list.write(t.out); err != nil || cursor == nil {
		return err
	}
	return say(t.out, "\nThere are more: --cursor %s\n", *cursor)
}

// shown prints one key, as it is after a change.
func (t *terminal) shown(key client.Key) error {
	if t.form == "json" {
		return t.json(map[string]any{"key": key})
	}
	return t.details(key)
}

// inspected prints one key that somebody asks about: when it was used as well.
func (t *terminal) inspected(key client.Key) error {
	if t.form == "json" {
		return t.json(map[string]any{"key": key})
	}
	return t.details(key, "Last used", t.lastUse(key.LastUsedAt))
}

// details prints what is known of a key, a line each, leaving out what has not
// happened; and one line more, if given.
func (t *terminal) details(key client.Key, more ...string) error {
	var lines table
	line := func(label, value string) {
		if value != "" {
			lines.row(label, value)
		}
	}
	line("Id", key.ID)
	line("Workspace", key.WorkspaceID)
	line("Name", key.Name)
	line("Owner", key.Owner)
	line("Preset", presetWords(key.Preset))
	line("Token", key.TokenHint)
	line("Status", key.Status)
	line("Created", t.moment(&key.CreatedAt)+by(key.CreatedBy))
	active := key.Status == "active"
	if active {
		line("Expires", t.moment(&key.ExpiresAt))
	} else {
		line("Expires", stamp(key.ExpiresAt)) // how far away that is means nothing
	}
	if len(more) > 0 {
		lines.row(more...)
	}
	if active {
		line("Revokes", t.moment(key.RevokesAt))
	}
	line("Revoked", t.moment(key.RevokedAt)+by(value(key.RevokedBy)))
	line("Reason", value(key.RevokeReason))
	line("Replaces", value(key.Replaces))
	line("Replaced by", value(key.ReplacedBy))
	line("In a browser", t.moment(key.ExposedAt))
	return lines.write(t.out)
}

// listed prints a table of keys.
func (t *terminal) listed(page client.KeyPage, ws string, all bool) error {
	if t.form == "json" {
		return t.json(page)
	}
	if len(page.Keys) == 0 {
		words := "No key matches."
		if all {
			words = "The workspace " + ws + " has no keys."
		}
		return say(t.out, "%s\n", words)
	}
	list := table{fit: t.width, shorten: []int{1}, optional: []int{4, 5, 6, 7}}
	list.row("ID", "NAME", "STATUS", "ENDS", "LAST USED", "PRESET", "TOKEN", "OWNER")
	for _, key := range page.Keys {
		list.row(key.ID, key.Name, statusWords(key), t.end(key), t.ago(key.LastUsedAt), presetWords(key.Preset), key.TokenHint, key.Owner)
	}
	return t.more(list, page.NextCursor)
}

// statusWords returns a key's status, and whether another key replaces it.
func statusWords(key client.Key) string {
	if key.Status == "active" && key.ReplacedBy != nil {
		return "active, replaced"
	}
	return key.Status
}

// end returns the day on which a key ends, or has ended, by whatever comes
// first; with the time of day where that is within two days.
func (t *terminal) end(key client.Key) string {
	at := key.ExpiresAt
	for _, earlier := range []*time.Time{key.RevokesAt, key.RevokedAt} {
		if earlier != nil && earlier.Before(at) {
			at = *earlier
		}
	}
	if left := at.Sub(t.now); left > 0 && left < 48*time.Hour {
		return at.UTC().Format("2006-01-02 15:04")
	}
	return at.UTC().Format(time.DateOnly)
}

// lastUse returns when a key was last used, and how long ago that is.
func (t *terminal) lastUse(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return t.moment(at) + " (" + t.ago(at) + ")"
}

// ago returns how long ago something was.
func (t *terminal) ago(at *time.Time) string {
	if at == nil {
		return "never"
	}
	passed := max(0, t.now.Sub(*at))
	switch {
	case passed < time.Minute:
		return fmt.Sprintf("%d s ago", passed/time.Second)
	case passed < time.Hour:
		return fmt.Sprintf("%d min ago", passed/time.Minute)
	case passed < 24*time.Hour:
		return fmt.Sprintf("%d h ago", passed/time.Hour)
	}
	return plural(int(passed/(24*time.Hour)), "day") + " ago"
}

// moment prints a time, and how far away it is.
func (t *terminal) moment(at *time.Time) string {
	if at == nil {
		return ""
	}
	if days := int(at.Sub(t.now).Round(time.Hour) / (24 * time.Hour)); days > 0 {
		return fmt.Sprintf("%s (in %s)", stamp(*at), plural(days, "day"))
	}
	return stamp(*at)
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

func presetWords(preset string) string { return strings.ReplaceAll(preset, "_", " ") }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
