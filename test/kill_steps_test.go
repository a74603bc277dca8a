package test

import (
	"fmt"
	"strings"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// maxActive is how many active keys a client lets its workspace have: few, so
// that names are used again, and changes meet each other's.
const maxActive = 6

// changes are what a client may ask for, and how often it does. Each returns an
// error if there was no answer, or a wrong one.
var changes = []weightedCall{
	{6, (*tenant).create}, {1, (*tenant).createTaken}, {5, (*tenant).rotate}, {3, (*tenant).rename}, {4, (*tenant).revoke},
	{1, (*tenant).revokeAgain}, {1, (*tenant).revokeAll}, {2, (*tenant).suspendOrResume}, {2, (*tenant).openOrCloseFeed},
}

func (w *tenant) create() error {
	if len(w.some(active)) >= maxActive {
		return w.revoke()
	}
	request := client.CreateRequest{Name: w.freeName(), Owner: one(w, "", "Ops"), Preset: one(w, "full_access", "read_only")}
	if life := "20d"; one(w, true, false) {
		request.ExpiresIn = &life
	}
	w.begin(event("create", "", "name", request.Name, "owner", request.Owner, "preset", request.Preset))
	answer, err := w.api.CreateKey(w.t.Context(), w.id, request)
	if err != nil {
		return err
	}
	w.keys[answer.Key.ID], w.tokens[answer.Key.ID] = answer.Key, answer.Token
	w.done()
	return nil
}

// createTaken asks for a key with a name that another has, in other letters.
func (w *tenant) createTaken() error {
	ids := w.some(active)
	if len(ids) == 0 {
		return nil
	}
	return w.wantTaken(w.keys[one(w, ids...)].Name)
}

// wantTaken asks for a key with a name, and wants to be refused because of it.
func (w *tenant) wantTaken(name string) error {
	name = strings.ToUpper(name)
	w.begin(event("create", "", "name", name, "refused", apikey.ErrNameTaken.Code))
	_, err := w.api.CreateKey(w.t.Context(), w.id, client.CreateRequest{Name: name, Preset: "read_only"})
	if err == nil {
		return fmt.Errorf("%w: an active key has the name %q, and another got it too", errWrong, name)
	}
	if codeOf(err) != client.CodeNameTaken {
		return err
	}
	w.done()
	return nil
}

func (w *tenant) rotate() error {
	ids := w.rotatable()
	if len(ids) == 0 {
		return w.create()
	}
	old := w.keys[one(w, ids...)]
	var request client.RotateRequest
	if wait := one(w, "", "0s", "24h"); wait != "" {
		request.RevokeOldIn = &wait
	}
	name := old.Name
	if one(w, true, false) {
		name = w.freeName()
		request.Name = &name
	}
	w.begin(event("rotate", old.ID, "name", name, "owner", old.Owner, "preset", old.Preset))
	answer, err := w.api.RotateKey(w.t.Context(), w.id, old.ID, request)
	if err != nil {
		return err
	}
	w.keys[answer.Key.ID], w.tokens[answer.Key.ID] = answer.Key, answer.Token
	w.keys[old.ID] = answer.Replaced
	w.done()
	return nil
}

// rename gives a key another name, another owner, or both.
func (w *tenant) rename() error {
	ids := w.some(active)
	if len(ids) == 0 {
		return nil
	}
	key := w.keys[one(w, ids...)]
	change := event("update", key.ID)
	var request client.UpdateRequest
	what := one(w, "name", "owner", "both")
	if name := w.freeName(); what != "owner" {
		request.Name, change.Details["name"], change.Details["name_before"] = &name, name, key.Name
	}
	if owner := key.Owner + "+"; what != "name" {
		request.Owner, change.Details["owner"], change.Details["owner_before"] = &owner, owner, key.Owner
	}
	w.begin(change)
	answer, err := w.api.UpdateKey(w.t.Context(), w.id, key.ID, request)
	if err != nil {
		return err
	}
	w.keys[key.ID] = answer
	w.done()
	return nil
}

// revoke ends a key, by its id or by its token.
func (w *tenant) revoke() error {
	ids := w.some(active)
	if len(ids) == 0 {
		return nil
	}
	id, reason := one(w, ids...), one(w, "", "left")
	change := event("revoke", id, "name", w.keys[id].Name, "reason", reason)
	var answer client.Revocation
	var err error
	if token, ok := w.tokens[id]; ok && one(w, true, false) {
		w.begin(event("lookup", id), change)
		answer, err = w.api.RevokeToken(w.t.Context(), token, reason)
	} else {
		w.begin(change)
		answer, err = w.api.RevokeKey(w.t.Context(), w.id, id, reason)
	}
	if err != nil {
		return err
	}
	w.keys[id] = answer.Key
	w.done()
	return nil
}

// revokeAgain wants that a key which has ended is left as it is.
func (w *tenant) revokeAgain() error {
	ids := w.some(func(key client.Key) bool { return !active(key) })
	if len(ids) == 0 {
		return nil
	}
	id := one(w, ids...)
	answer, err := w.api.RevokeKey(w.t.Context(), w.id, id, "once more")
	if err != nil {
		return err
	}
	return w.wantKey(answer.Key)
}

func (w *tenant) revokeAll() error {
	ids := w.some(active)
	if len(ids) == 0 {
		return nil
	}
	reason := "all of them"
	w.begin(event("revoke_all", "", "reason", reason))
	answer, err := w.api.RevokeAll(w.t.Context(), w.id, reason)
	if err != nil {
		return err
	}
	if answer.Revoked != len(ids) {
		return fmt.Errorf("%w: %d keys were revoked, of %d", errWrong, answer.Revoked, len(ids))
	}
	for _, id := range ids {
		key := w.keys[id]
		key.Status, key.RevokeReason = "revoked", &reason // when and by whom was not answered
		w.keys[id] = key
	}
	w.done()
	return nil
}

func (w *tenant) suspendOrResume() (err error) {
	var answer client.SuspendedWorkspace
	if w.workspace.Suspended {
		w.begin(event("resume", ""))
		answer.Workspace, err = w.api.Resume(w.t.Context(), w.id)
	} else {
		w.begin(event("suspend", "", "reason", "unpaid"))
		answer, err = w.api.Suspend(w.t.Context(), w.id, "unpaid")
	}
	if err != nil {
		return err
	}
	w.workspace = answer.Workspace
	w.workspace.Keys = client.KeyCounts{}
	w.done()
	return nil
}

// openOrCloseFeed gives the workspace a calendar feed, or ends the one it has.
func (w *tenant) openOrCloseFeed() error {
	if w.hasFeed && one(w, true, false) {
		w.begin(event("calendar_feed_revoke", ""))
		if _, err := w.api.RevokeFeed(w.t.Context(), w.id); err != nil {
			return err
		}
		w.feedIs(false, "")
	} else {
		w.begin(event("calendar_feed", ""))
		path, err := w.api.CreateFeed(w.t.Context(), w.id)
		if err != nil {
			return err
		}
		w.feedIs(true, path)
	}
	w.done()
	return nil
}

// feedIs notes that the feed before has ended, and what there is now.
func (w *tenant) feedIs(there bool, path string) {
	if w.feed != "" {
		w.oldFeeds = append(w.oldFeeds, w.feed)
	}
	w.hasFeed, w.feed = there, path
}
