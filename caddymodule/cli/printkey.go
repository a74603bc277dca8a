package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// created prints a new key and its token.
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

// unwritten returns the error for a new token that could not be printed, and that no call
// returns again.
func unwritten(key client.Key, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s was created, but its token could not be written and cannot be shown again: revoke it (%w)", key.ID, err)
}

// tokenForPeople formats a token for a person to copy.
const tokenForPeople = "\nThe token, shown only once. Keep it in a secret manager:\n\n  %s\n"

// token prints a new token, if what the server sent is one.
func (t *terminal) token(format, token string) error {
	if _, ok := apikey.ParseToken(token); !ok {
		return errors.New("the server sent something that is not a token")
	}
	return say(t.out, format, token)
}

// rotated prints a replacement, its token, and what happens to the old key.
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

// future says how long a replaced key stays active.
func (t *terminal) future(old client.Key) string {
	switch {
	case old.RevokedAt != nil:
		return "is revoked"
	case old.RevokesAt != nil:
		return "will be revoked at " + t.moment(old.RevokesAt)
	}
	return "stays active until " + t.moment(&old.ExpiresAt) + ": revoke it when the new one is in place"
}

// revoked prints a key that was revoked.
func (t *terminal) revoked(revocation client.Revocation) error {
	if t.form == "json" {
		return t.json(revocation)
	}
	return t.details(revocation.Key)
}

// shown prints a key after a change.
func (t *terminal) shown(key client.Key) error {
	if t.form == "json" {
		return t.json(map[string]any{"key": key})
	}
	return t.details(key)
}

// inspected prints a key that was asked for, with its last use.
func (t *terminal) inspected(key client.Key) error {
	if t.form == "json" {
		return t.json(map[string]any{"key": key})
	}
	return t.details(key, "Last used", t.lastUse(key.LastUsedAt))
}

// details prints a key, one property a line, without those that are not set, and an
// additional line if one is given.
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
		line("Expires", stamp(key.ExpiresAt)) // without the days until then, which mean nothing
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
	line("In public", t.moment(key.LeakedAt))
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

// statusWords formats a key's status, and whether it was replaced.
func statusWords(key client.Key) string {
	if key.Status == "active" && key.ReplacedBy != nil {
		return "active, replaced"
	}
	return key.Status
}

// end returns the day on which a key expires or is revoked, whichever is first, with the
// time of day if that is within the next two days.
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
