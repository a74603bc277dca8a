package caddymodule

import (
	"context"
	"errors"
	"io"
	"maps"
	"time"

	"github.com/agiled/caddy-api-keys/admin"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/doctor"
	"github.com/agiled/caddy-api-keys/internal/fleet"
	"github.com/agiled/caddy-api-keys/internal/metrics"
	"github.com/agiled/caddy-api-keys/internal/store"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// countedStore is a key store whose failures are counted. It does not embed the
// store, so that nothing reaches the store past it, and a test calls every method
// on a closed store and expects one more failure.
//
// The failures of Grant, Lookup, Census and ExpiringInUse are counted by their callers,
// which stop waiting for a store that hangs: it returns no error.
type countedStore struct {
	store *store.Store
	fleet *fleet.Fleet // nil unless the store belongs to one
}

func (s countedStore) count(ctx context.Context, operation metrics.StoreOperation, err *error) {
	collectors.Store().Count(ctx, operation, *err)
}

// countForget counts no failure without contact with the fleet, which takes no changes then:
// nobody waits for what is old to be deleted, and contact is measured on its own.
func (s countedStore) countForget(ctx context.Context, err *error) {
	if s.fleet == nil || s.fleet.Live() && s.fleet.Problem() == "" {
		s.count(ctx, metrics.Forget, err)
	}
}

func (s countedStore) Path() string                      { return s.store.Path() }
func (s countedStore) Made() bool                        { return s.store.Made() }
func (s countedStore) Close() error                      { return s.store.Close() }
func (s countedStore) Size() store.Size                  { return s.store.Size() }
func (s countedStore) SignWith(key apikey.BackupKey)     { s.store.SignWith(key) }
func (s countedStore) MayHave(digest apikey.Digest) bool { return s.store.MayHave(digest) }
func (s countedStore) Prefixes() *apikey.Prefixes        { return s.store.Prefixes() }
func (s countedStore) Version(workspaceID string) uint64 { return s.store.Version(workspaceID) }

// For requests and scrapes, which count the failures themselves.

func (s countedStore) Grant(digest apikey.Digest) (apikey.Grant, error) {
	return s.store.Grant(digest)
}

// Lookup is for tokens that have leaked. It fails without a lease: the key may have been
// created through another gateway.
func (s countedStore) Lookup(digest apikey.Digest) (*apikey.Key, error) {
	if err := s.checkLease(); err != nil {
		return nil, err
	}
	return s.store.Lookup(digest)
}

func (s countedStore) Census(ctx context.Context, now time.Time) (store.Census, error) {
	return s.store.Census(ctx, now)
}

func (s countedStore) ExpiringInUse(ctx context.Context, now time.Time) (map[time.Duration]int, error) {
	return s.store.ExpiringInUse(ctx, now)
}

// Reads.

// Ping fails without a lease too. That is not a failure of the store: it is measured and
// logged on its own, and healthz is asked every few seconds.
func (s countedStore) Ping() (err error) {
	if err := s.checkLease(); err != nil {
		return err
	}
	defer s.count(context.Background(), metrics.Read, &err)
	return s.store.Ping()
}

func (s countedStore) Key(ctx context.Context, workspaceID, keyID string) (_ *apikey.Key, err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.Key(ctx, workspaceID, keyID)
}

func (s countedStore) Keys(ctx context.Context, workspaceID string, filter apikey.KeyFilter, page apikey.Page, now time.Time) (_ []*apikey.Key, _ string, err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.Keys(ctx, workspaceID, filter, page, now)
}

func (s countedStore) Usage(ctx context.Context, workspaceID string, keyIDs []string, from, to apikey.Day) (_ map[string][]apikey.DayUsage, err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.Usage(ctx, workspaceID, keyIDs, from, to)
}

func (s countedStore) FindKey(ctx context.Context, keyID string) (_ *apikey.Key, err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.FindKey(ctx, keyID)
}

func (s countedStore) FindKeys(ctx context.Context, filter apikey.KeyFilter, page apikey.Page, now time.Time) (_ []*apikey.Key, _ string, err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.FindKeys(ctx, filter, page, now)
}

func (s countedStore) EachActive(ctx context.Context, workspaceID string, now time.Time, visit func(*apikey.Key) error) (err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.EachActive(ctx, workspaceID, now, visit)
}

func (s countedStore) CountKeys(ctx context.Context, workspaceID string, now time.Time) (_ map[apikey.Status]int, err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.CountKeys(ctx, workspaceID, now)
}

func (s countedStore) TryImport(ctx context.Context, key apikey.Key, now time.Time) (_ apikey.Outcome, err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.TryImport(ctx, key, now)
}

func (s countedStore) Events(ctx context.Context, workspaceID string, page apikey.Page) (_ []apikey.Event, _ string, err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.Events(ctx, workspaceID, page)
}

func (s countedStore) Workspace(ctx context.Context, workspaceID string) (_ apikey.Workspace, err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.Workspace(ctx, workspaceID)
}

func (s countedStore) Workspaces(ctx context.Context, query string, page apikey.Page) (_ []apikey.Workspace, _ string, err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.Workspaces(ctx, query, page)
}

func (s countedStore) Suspensions(ctx context.Context, page apikey.Page) (_ []apikey.Workspace, _ string, err error) {
	defer s.count(ctx, metrics.Read, &err)
	return s.store.Suspensions(ctx, page)
}

func (s countedStore) SuspendedWorkspaces() (_ []string, err error) {
	defer s.count(context.Background(), metrics.Read, &err)
	return s.store.SuspendedWorkspaces()
}

// Feed fails without a lease, as the check of a key does: the feed may have been revoked
// through another gateway.
func (s countedStore) Feed(ctx context.Context, digest apikey.Digest) (_ string, err error) {
	if err := s.checkLease(); err != nil {
		return "", err
	}
	defer s.count(ctx, metrics.Read, &err)
	return s.store.Feed(ctx, digest)
}

func (s countedStore) SigningKeys() (_ []byte, err error) {
	defer s.count(context.Background(), metrics.Read, &err)
	return s.store.SigningKeys()
}

func (s countedStore) Restoring() (_ time.Time, err error) {
	defer s.count(context.Background(), metrics.Read, &err)
	return s.store.Restoring()
}

func (s countedStore) Backup(ctx context.Context, now time.Time) (_ io.ReadSeekCloser, err error) {
	defer s.count(ctx, metrics.Read, &err)
	defer garbage.spare()()
	return s.store.Backup(ctx, now)
}

func (s countedStore) Check(ctx context.Context, now time.Time) (_ []doctor.Finding, err error) {
	defer s.count(ctx, metrics.Read, &err)
	defer garbage.spare()()
	return s.store.Check(ctx, now)
}

// Changes.

func (s countedStore) Apply(ctx context.Context, change apikey.Change) (_ apikey.Outcome, err error) {
	defer s.count(ctx, metrics.Change, &err)
	outcome, err := s.store.Apply(ctx, change)
	collectors.CountRevoke(outcome.Propagation)
	return outcome, err
}

// ApplyAll counts one failure, whether all changes failed or some of them.
func (s countedStore) ApplyAll(ctx context.Context, changes []apikey.Change) ([]apikey.Planned, error) {
	results, err := s.store.ApplyAll(ctx, changes)
	failed := err
	for _, r := range results {
		if failed == nil && errors.Is(r.Err, apikey.ErrStoreUnavailable) {
			failed = r.Err
		}
	}
	s.count(ctx, metrics.Change, &failed)
	return results, err
}

func (s countedStore) Restore(ctx context.Context, from io.Reader, change apikey.Change, do apikey.Restore, progress io.Writer) (_ apikey.Restored, err error) {
	defer s.count(ctx, metrics.Change, &err)
	defer garbage.spare()()
	return s.store.Restore(ctx, from, change, do, progress)
}

func (s countedStore) RenewSigningKeys(ctx context.Context, at time.Time, renew func(record []byte) ([]byte, error)) (err error) {
	defer s.count(ctx, metrics.Change, &err)
	return s.store.RenewSigningKeys(ctx, at, renew)
}

// Webhooks.

func (s countedStore) SetReceivers(receivers []webhook.Receiver) (err error) {
	defer s.count(context.Background(), metrics.Read, &err)
	return s.store.SetReceivers(receivers)
}

// outbox returns what keeps the messages to webhooks: the fleet, if the store belongs to one.
func (s countedStore) outbox() webhook.Outbox {
	if s.fleet != nil {
		return countedOutbox{s.fleet.Outbox(), s.count}
	}
	return countedOutbox{s.store.Outbox(), s.count}
}

// Upkeep.

func (s countedStore) NoteUses(uses map[string]apikey.Use) (err error) {
	defer s.count(context.Background(), metrics.LastUsed, &err)
	err = s.store.NoteUses(uses)
	if err == nil && s.fleet != nil {
		s.fleet.NoteUses(maps.Keys(uses))
	}
	return err
}

func (s countedStore) NoteUsage(more map[apikey.KeyDay]apikey.Usage) (err error) {
	defer s.count(context.Background(), metrics.Usage, &err)
	err = s.store.NoteUsage(more)
	if err == nil && s.fleet != nil {
		s.fleet.NoteUsage(more)
	}
	return err
}

func (s countedStore) ForgetUsage(ctx context.Context, now time.Time) (err error) {
	defer s.count(ctx, metrics.Forget, &err)
	return s.store.ForgetUsage(ctx, now)
}

func (s countedStore) ClockNote() (_ apikey.ClockNote, err error) {
	defer s.count(context.Background(), metrics.Clock, &err)
	return s.store.ClockNote()
}

func (s countedStore) NoteClock(read func() apikey.ClockNote) (err error) {
	defer s.count(context.Background(), metrics.Clock, &err)
	return s.store.NoteClock(read)
}

func (s countedStore) SettleEnds(ctx context.Context, now time.Time) (err error) {
	defer s.count(ctx, metrics.Forget, &err)
	return s.store.SettleEnds(ctx, now)
}

func (s countedStore) ForgetKeys(ctx context.Context, before, now time.Time) (_ int, err error) {
	defer s.countForget(ctx, &err)
	return s.store.ForgetKeys(ctx, before, now)
}

func (s countedStore) ForgetFeeds(ctx context.Context, before, now time.Time) (_ int, err error) {
	defer s.countForget(ctx, &err)
	return s.store.ForgetFeeds(ctx, before, now)
}

func (s countedStore) ForgetMessages(ctx context.Context) (_ int, err error) {
	defer s.countForget(ctx, &err)
	return s.store.ForgetMessages(ctx)
}

func (s countedStore) ForgetEvents(ctx context.Context, before, now time.Time) (_ int, err error) {
	defer s.countForget(ctx, &err)
	return s.store.ForgetEvents(ctx, before, now)
}

// Interface guards
var (
	_ admin.Keys   = countedStore{}
	_ authn.Source = countedStore{}
)
