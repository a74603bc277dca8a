package admin

import (
	"context"
	"io"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/doctor"
)

// keys returns the key store, or one that cannot answer while none is open.
func (h *Handler) keys() Keys {
	if keys := h.Keys(); keys != nil {
		return keys
	}
	return noKeys{}
}

// noKeys stands in for a key store that is not open. All its calls fail with
// [apikey.ErrStoreUnavailable].
type noKeys struct{}

func (noKeys) Apply(context.Context, apikey.Change) (none apikey.Outcome, err error) {
	return none, apikey.ErrStoreUnavailable
}

func (noKeys) ApplyAll(context.Context, []apikey.Change) ([]apikey.Planned, error) {
	return nil, apikey.ErrStoreUnavailable
}

func (noKeys) TryImport(context.Context, apikey.Key, time.Time) (none apikey.Outcome, err error) {
	return none, apikey.ErrStoreUnavailable
}

func (noKeys) Lookup(apikey.Digest) (*apikey.Key, error) { return nil, apikey.ErrStoreUnavailable }

func (noKeys) Prefixes() *apikey.Prefixes { return nil }

func (noKeys) Key(context.Context, string, string) (*apikey.Key, error) {
	return nil, apikey.ErrStoreUnavailable
}

func (noKeys) Keys(context.Context, string, apikey.KeyFilter, apikey.Page, time.Time) ([]*apikey.Key, string, error) {
	return nil, "", apikey.ErrStoreUnavailable
}

func (noKeys) Usage(context.Context, string, []string, apikey.Day, apikey.Day) (map[string][]apikey.DayUsage, error) {
	return nil, apikey.ErrStoreUnavailable
}

func (noKeys) FindKey(context.Context, string) (*apikey.Key, error) {
	return nil, apikey.ErrStoreUnavailable
}

func (noKeys) FindKeys(context.Context, apikey.KeyFilter, apikey.Page, time.Time) ([]*apikey.Key, string, error) {
	return nil, "", apikey.ErrStoreUnavailable
}

func (noKeys) EachActive(context.Context, string, time.Time, func(*apikey.Key) error) error {
	return apikey.ErrStoreUnavailable
}

func (noKeys) Version(string) uint64 { return 0 }

func (noKeys) Events(context.Context, string, apikey.Page) ([]apikey.Event, string, error) {
	return nil, "", apikey.ErrStoreUnavailable
}

func (noKeys) Workspace(context.Context, string) (none apikey.Workspace, err error) {
	return none, apikey.ErrStoreUnavailable
}

func (noKeys) Workspaces(context.Context, string, apikey.Page) ([]apikey.Workspace, string, error) {
	return nil, "", apikey.ErrStoreUnavailable
}

func (noKeys) Suspensions(context.Context, apikey.Page) ([]apikey.Workspace, string, error) {
	return nil, "", apikey.ErrStoreUnavailable
}

func (noKeys) CountKeys(context.Context, string, time.Time) (map[apikey.Status]int, error) {
	return nil, apikey.ErrStoreUnavailable
}

func (noKeys) Feed(context.Context, apikey.Digest) (string, error) {
	return "", apikey.ErrStoreUnavailable
}

func (noKeys) Backup(context.Context, time.Time) (io.ReadSeekCloser, error) {
	return nil, apikey.ErrStoreUnavailable
}

func (noKeys) Restore(context.Context, io.Reader, apikey.Change, apikey.Restore, io.Writer) (none apikey.Restored, err error) {
	return none, apikey.ErrStoreUnavailable
}

func (noKeys) Check(context.Context, time.Time) ([]doctor.Finding, error) {
	return nil, apikey.ErrStoreUnavailable
}

func (noKeys) Ping() error { return apikey.ErrStoreUnavailable }

func (noKeys) Filled() (bool, error) { return false, apikey.ErrStoreUnavailable }

func (noKeys) Unchangeable() string { return "no key store is open" }
