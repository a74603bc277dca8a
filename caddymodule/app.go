package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/assertion"
)

const (
	appName = "api_keys"

	defaultCacheSize          = 100_000
	defaultLife               = 90 * 24 * time.Hour
	defaultMaxActiveKeys      = 100
	defaultMaxChanges         = 120
	defaultAuditRetention     = 400 * 24 * time.Hour
	defaultLastUsedResolution = time.Minute
)

// App manages API keys: it opens the store and has the rules for new keys. The
// handlers `api_key_auth` and `api_key_admin` and the admin endpoint's `/api-keys/`
// use it. A configuration that uses one of them needs no `api_keys` app unless it
// changes a default.
type App struct {
	// Where the keys are stored.
	Store Store `json:"store,omitzero"`

	// What new tokens begin with, before an underscore: 2 to 20 of a-z, 0-9
	// and _, beginning with a letter and not ending in _. Tokens with an
	// earlier prefix stay valid. Default: `agk`.
	TokenPrefix string `json:"token_prefix,omitempty"`

	// Whether tokens are looked up that other programs issued, for keys that were
	// imported: `refuse` or `accept`. Such a token has 16 to 512 of A-Z, a-z, 0-9 and
	// -._~+/, and maybe = at its end, and does not begin with a prefix that tokens of
	// this gateway have or had. Imported keys work in any case if their tokens have the
	// form of this gateway's, with any prefix. Default: `refuse`.
	ForeignTokens string `json:"foreign_tokens,omitempty"`

	// How long a new key lives, and the longest that a request may ask for.
	// Default: `90d`.
	ExpiresIn caddy.Duration `json:"expires_in,omitempty"`

	// Whether a key may have a name that says nothing about what uses it, such
	// as "test": `refuse` or `allow`. Default: `refuse`.
	VagueNames string `json:"vague_names,omitempty"`

	// How many keys of one workspace may be active at a time. A key counts as one together
	// with those that it has replaced and that are still active, of which there are two at
	// most. Default: 100.
	MaxActiveKeys int `json:"max_active_keys,omitempty"`

	// How long audit events are kept, and keys after they have expired or were
	// revoked. A key is kept at least until it expires. Default: `400d`.
	AuditRetention caddy.Duration `json:"audit_retention,omitempty"`

	// How many changes a workspace may request on mounts that are pinned to it.
	// Refused calls count too. Calls that revoke keys are never delayed. Default: 120
	// per minute.
	MaxChanges *MaxChanges `json:"max_changes,omitempty"`

	// The resolution of the time when a key was last used. Default: `1m`.
	LastUsedResolution caddy.Duration `json:"last_used_resolution,omitempty"`

	// A secret of at least 64 hexadecimal digits that backups are signed with: only
	// backups signed with it can then be restored. Use a placeholder, such as
	// `{env.API_KEYS_BACKUP_KEY}`, so that the configuration does not contain the
	// secret. Default: none, and backups are not signed.
	BackupKey string `json:"backup_key,omitempty"`

	// One or two secrets of 64 hexadecimal digits that the keys that sign assertions are
	// encrypted with in the store: see `assertion` of `api_key_auth`. The first encrypts; a
	// second is the old one, while it is being replaced. Use placeholders, such as
	// `{env.API_KEYS_ENCRYPTION_KEY}`, so that the configuration does not contain the
	// secrets. Not with a store in etcd, whose `integrity_keys` encrypt them. Default:
	// none, and they are protected by the permissions of the store's files alone.
	EncryptionKeys []string `json:"encryption_keys,omitempty"`

	// Who is told what happens to keys and workspaces, up to 10. Default: nobody.
	Webhooks []*Webhook `json:"webhooks,omitempty"`

	backupKey      apikey.BackupKey
	encryptionKeys assertion.Secrets
	fleet          *fleetOptions    // nil unless the store is in etcd
	signing        *signingSettings // nil unless a handler signs assertions
	webhooks       *webhooks        // nil unless there are any

	ctx      caddy.Context // of the configuration
	log      *zap.Logger
	path     string         // of the store: absolute, and free of symbolic links
	endpoint *admin.Handler // for Caddy's own admin endpoint
	appended appendedTo     // what log_append adds to access logs

	// shared is nil until the app has started. ready is closed when it has started
	// or failed to: Caddy starts apps in no particular order, and requests may come
	// earlier.
	shared atomic.Pointer[instance]
	ready  chan struct{}
	start  sync.Once

	// sendsAtOnce is true once it is known that no proxy holds requests back. Requests
	// can come before that, where another configuration has the store open.
	sendsAtOnce atomic.Bool

	guarded sync.Map // the servers that reserve descriptors
}

// Store configures where keys are stored.
type Store struct {
	// The kind of store: `badger`, for one gateway, or `etcd`, for several that share
	// their keys. The options other than `path` and `cache_size` are for `etcd` only.
	// Default: `badger`.
	Module string `json:"module,omitempty"`

	// The directory of the store, or of this gateway's copy of it. It is created if it
	// does not exist. Only one process at a time can use it. May contain placeholders
	// such as `{env.STATE_DIRECTORY}`. Default: `api_keys` in Caddy's data directory.
	Path string `json:"path,omitempty"`

	// How many keys are kept in memory. The store may have many more; a key that is
	// not in memory costs a disk read. Default: 100000.
	CacheSize int `json:"cache_size,omitempty"`

	EtcdStore
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: appName, New: func() caddy.Module { return &App{ready: make(chan struct{})} }}
}

// Provision sets defaults and checks the configuration. It opens nothing, so that a
// configuration can be validated while a server is running.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.log = ctx, ctx.Logger()
	setDefault(&a.Store.Module, badgerStore)
	setDefault(&a.Store.Path, defaultStorePath())
	setDefault(&a.Store.CacheSize, defaultCacheSize)
	setDefault(&a.TokenPrefix, apikey.DefaultPrefix)
	setDefault(&a.ForeignTokens, refuse)
	setDefault(&a.ExpiresIn, caddy.Duration(defaultLife))
	setDefault(&a.VagueNames, refuse)
	setDefault(&a.MaxActiveKeys, defaultMaxActiveKeys)
	setDefault(&a.AuditRetention, caddy.Duration(defaultAuditRetention))
	if a.MaxChanges == nil {
		a.MaxChanges = &MaxChanges{Changes: defaultMaxChanges, Window: caddy.Duration(time.Minute)}
	}
	setDefault(&a.LastUsedResolution, caddy.Duration(defaultLastUsedResolution))
	if err := collectors.Register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	path, err := evaluated(a.Store.Path)
	if err != nil {
		return fmt.Errorf("store path %q: %w", a.Store.Path, err)
	}
	if a.path, err = realPath(path); err != nil {
		return fmt.Errorf("store path %q: %w", path, err)
	}
	if a.Store.Module == etcdStore {
		if a.fleet, err = a.Store.fleetOptions(); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	if err := a.readBackupKey(); err != nil {
		return fmt.Errorf("backup_key: %w", err)
	}
	if err := a.readEncryptionKeys(); err != nil {
		return fmt.Errorf("encryption_key: %w", err)
	}
	if err := a.provisionWebhooks(); err != nil {
		return err
	}
	a.endpoint = a.newAPI(admin.Config{Actor: func(*http.Request) string { return endpointActor }})
	return nil
}

func defaultStorePath() string { return filepath.Join(caddy.AppDataDir(), appName) }

// readBackupKey reads the secret that backups are signed with, if any.
func (a *App) readBackupKey() error {
	if a.BackupKey == "" {
		return nil
	}
	digits, err := evaluated(a.BackupKey)
	if err == nil {
		a.backupKey, err = apikey.ParseBackupKey(strings.TrimSpace(digits))
	}
	return err
}

// newAPI returns an admin API for the app's keys.
func (a *App) newAPI(config admin.Config) *admin.Handler {
	config.Log = sampledLogger()
	config.Refusals = reloadSafe(caddy.Log().Named(appName))
	config.CountChange = a.countChange
	config.Rules = a.rules()
	config.Clock = a.readClock
	config.Keys = func() admin.Keys {
		if i := a.instance(context.Background()); i != nil {
			return i.store
		}
		return nil
	}
	config.Fleet = func() admin.Fleet {
		if i := a.instance(context.Background()); i != nil && i.fleet != nil {
			return signingFleet{i.fleet, i}
		}
		return nil
	}
	config.Webhooks = a.webhooksOf
	return newAPI(config)
}

// readClock reads the time by which keys are judged.
func (a *App) readClock() apikey.ClockReading {
	if i := a.shared.Load(); i != nil {
		return i.clock.Read()
	}
	return machineClock()
}

// Start opens the store, or shares it with the configuration that this one
// replaces.
func (a *App) Start() error {
	defer a.start.Do(func() { close(a.ready) })
	i, err := acquire(a.path, a.settings(), a.log)
	if err != nil {
		return err
	}
	garbage.tune()
	a.lookAround()
	a.shared.Store(i)
	return nil
}

// settings returns what the instance adopts of this configuration.
func (a *App) settings() settings {
	return settings{
		cacheSize:          a.Store.CacheSize,
		auditRetention:     time.Duration(a.AuditRetention),
		lastUsedResolution: time.Duration(a.LastUsedResolution),
		backupKey:          a.backupKey,
		fleet:              a.fleet,
		signing:            a.signingSettings(),
		webhooks:           a.webhooks,
	}
}

// Stop does nothing: requests that have been accepted may still have to be judged.
// See Cleanup.
func (a *App) Stop() error { return nil }

// Cleanup releases the store if Start acquired it. The configuration may have been refused
// after that, because of something else in it: then the instance has adopted its settings,
// and gets those of the running configuration back. Otherwise another one is in force now,
// which may store what it needs.
func (a *App) Cleanup() error {
	i := a.shared.Load()
	if i == nil {
		return nil
	}
	if soleUser(a.path) {
		i.authn.Retire(true) // keys are now revoked in another store, and WebSockets here would not notice
	}
	err := i.restoreSettings()
	if err == nil && i.fleet == nil {
		err = i.keepSigning(context.Background())
	}
	return errors.Join(err, release(a.path))
}

// rules returns the operator's rules for new keys.
func (a *App) rules() admin.Rules {
	return admin.Rules{
		TokenPrefix:     a.TokenPrefix,
		Life:            time.Duration(a.ExpiresIn),
		AllowVagueNames: a.VagueNames == allow,
		MaxActiveKeys:   a.MaxActiveKeys,
	}
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.Validator    = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
