package caddymodule

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/agiled/caddy-api-keys/admin"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// watchedStore is a key store whose failures are counted. Those of a look-up and
// of a census are not counted here, but by whoever waits for them: a store that
// hangs returns no error.
type watchedStore struct{ *store.Store }

// watch counts a failure of the store. A refusal is none, and neither is that
// whoever asked has gone.
func watch(ctx context.Context, failures prometheus.Counter, err *error) {
	if ctx.Err() != nil {
		return
	}
	if errors.Is(*err, apikey.ErrStoreUnavailable) || errors.Is(*err, apikey.ErrNoSpace) {
		failures.Inc()
	}
}

func (s watchedStore) Apply(ctx context.Context, change apikey.Change) (_ apikey.Outcome, err error) {
	defer watch(ctx, changeErrors, &err)
	return s.Store.Apply(ctx, change)
}

func (s watchedStore) Key(ctx context.Context, workspaceID, keyID string) (_ *apikey.Key, err error) {
	defer watch(ctx, readErrors, &err)
	return s.Store.Key(ctx, workspaceID, keyID)
}

func (s watchedStore) Keys(ctx context.Context, workspaceID string, filter apikey.KeyFilter, page apikey.Page, now time.Time) (_ []*apikey.Key, _ string, err error) {
	defer watch(ctx, readErrors, &err)
	return s.Store.Keys(ctx, workspaceID, filter, page, now)
}

func (s watchedStore) Events(ctx context.Context, workspaceID string, page apikey.Page) (_ []apikey.Event, _ string, err error) {
	defer watch(ctx, readErrors, &err)
	return s.Store.Events(ctx, workspaceID, page)
}

func (s watchedStore) Workspace(ctx context.Context, workspaceID string) (_ apikey.Workspace, err error) {
	defer watch(ctx, readErrors, &err)
	return s.Store.Workspace(ctx, workspaceID)
}

func (s watchedStore) CountKeys(ctx context.Context, workspaceID string, now time.Time) (_ map[apikey.Status]int, err error) {
	defer watch(ctx, readErrors, &err)
	return s.Store.CountKeys(ctx, workspaceID, now)
}

func (s watchedStore) Feed(ctx context.Context, digest apikey.Digest) (_ string, err error) {
	defer watch(ctx, readErrors, &err)
	return s.Store.Feed(ctx, digest)
}

func (s watchedStore) Backup(ctx context.Context, now time.Time) (_ io.ReadSeekCloser, err error) {
	defer watch(ctx, readErrors, &err)
	defer garbage.spare()()
	return s.Store.Backup(ctx, now)
}

func (s watchedStore) Restore(ctx context.Context, from io.Reader, change apikey.Change, do apikey.Restore, progress io.Writer) (_ apikey.Restored, err error) {
	defer watch(ctx, changeErrors, &err)
	defer garbage.spare()()
	return s.Store.Restore(ctx, from, change, do, progress)
}

func (s watchedStore) Check(ctx context.Context, now time.Time) ([]apikey.Finding, error) {
	defer garbage.spare()()
	return s.Store.Check(ctx, now)
}

func (s watchedStore) Ping() (err error) {
	defer watch(context.Background(), readErrors, &err)
	return s.Store.Ping()
}

func (s watchedStore) NoteUses(uses map[string]apikey.Use) (err error) {
	defer watch(context.Background(), lastUsedErrors, &err)
	return s.Store.NoteUses(uses)
}

func (s watchedStore) NoteClock(read func() apikey.ClockNote) (err error) {
	defer watch(context.Background(), clockErrors, &err)
	return s.Store.NoteClock(read)
}

func (s watchedStore) ActiveKeys(ctx context.Context, workspaceID string, now time.Time) (_ []*apikey.Key, err error) {
	defer watch(ctx, readErrors, &err)
	return s.Store.ActiveKeys(ctx, workspaceID, now)
}

func (s watchedStore) ForgetKeys(ctx context.Context, before, now time.Time) (_ int, err error) {
	defer watch(ctx, forgetErrors, &err)
	return s.Store.ForgetKeys(ctx, before, now)
}

func (s watchedStore) ForgetEvents(ctx context.Context, before, now time.Time) (_ int, err error) {
	defer watch(ctx, forgetErrors, &err)
	return s.Store.ForgetEvents(ctx, before, now)
}

// Interface guards
var _ admin.Keys = watchedStore{}
