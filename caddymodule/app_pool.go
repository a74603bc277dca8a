package caddymodule

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// instances are keyed by the real path of their store, and by nothing else: two
// configurations may use the same store differently, but it is open only once.
var instances = caddy.NewUsagePool()

// acquire returns the instance of the store at path, opening it if necessary.
func acquire(path string, settings settings, log *zap.Logger) (*instance, error) {
	pooled, loaded, err := instances.LoadOrNew(path, func() (caddy.Destructor, error) {
		return openInstance(path, settings, log)
	})
	if err != nil {
		return nil, err
	}
	found := pooled.(*instance)
	if loaded {
		if err := found.adopt(settings); err != nil {
			_, released := instances.Delete(path)
			return nil, errors.Join(err, released)
		}
		found.authn.Retire(false)
	} else {
		warnOfFewDescriptors(log)
	}
	return found, nil
}

// startTimeout bounds how long a request waits for an app that has not started.
const startTimeout = 5 * time.Second

// instance returns the app's instance, or nil if the app does not start in time.
// Caddy may have the new configuration's servers accept requests before it starts
// this app, and may then abandon that configuration: such requests are judged by
// the store that the running one has open.
func (a *App) instance(ctx context.Context) *instance {
	if i := a.shared.Load(); i != nil {
		return i
	}
	if i := opened(a.path); i != nil {
		return i
	}
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case <-a.ready:
	case <-timer.C:
	case <-ctx.Done():
		return nil
	}
	if i := a.shared.Load(); i != nil {
		return i
	}
	return runningInstance()
}

// runningInstance returns the instance of the running configuration, or nil.
func runningInstance() *instance {
	if app := runningApp(); app != nil {
		return app.shared.Load()
	}
	return nil
}

// runningApp returns the app of the running configuration, or nil. Ask it on each
// request: the admin endpoint outlives configurations, and may have been made for
// one that was then rejected.
func runningApp() *App {
	app, err := caddy.ActiveContext().AppIfConfigured(appName)
	if err != nil {
		return nil
	}
	return app.(*App)
}

// opened returns the instance of the store at path, or nil if it is not open.
func opened(path string) (found *instance) {
	instances.Range(func(key, value any) bool {
		if key == path {
			found = value.(*instance)
		}
		return found == nil
	})
	return found
}

// drain is how long a store stays open after the last configuration that used it
// was replaced. Caddy does not wait for requests that the old configuration has
// accepted, and they must be judged by the store they were meant for. It covers
// Caddy's limit for reading a request's headers.
const drain = 2 * time.Minute

// releasing are the stores that are open only for requests in flight.
var releasing = struct {
	sync.Mutex
	timers map[*time.Timer]string
}{timers: make(map[*time.Timer]string)}

func init() { caddy.OnExit(func(context.Context) { releaseAll() }) }

// release gives up one use of the store at path: immediately if the process is exiting,
// when no request is in flight any more, and otherwise after the drain.
func release(path string) error {
	if caddy.Exiting() {
		_, err := instances.Delete(path)
		return err
	}
	releasing.Lock()
	defer releasing.Unlock()
	var timer *time.Timer
	timer = time.AfterFunc(drain, func() {
		releasing.Lock()
		_, due := releasing.timers[timer]
		delete(releasing.timers, timer)
		releasing.Unlock()
		if due {
			closeStore(path)
		}
	})
	releasing.timers[timer] = path
	return nil
}

// soleUser reports whether only one configuration uses the store at path, not
// counting those that are draining.
func soleUser(path string) bool {
	releasing.Lock()
	defer releasing.Unlock()
	users, _ := instances.References(path)
	for _, draining := range releasing.timers {
		if draining == path {
			users--
		}
	}
	return users == 1
}

// releaseAll ends every drain when the process exits.
func releaseAll() {
	releasing.Lock()
	defer releasing.Unlock()
	for timer, path := range releasing.timers {
		timer.Stop()
		delete(releasing.timers, timer)
		closeStore(path)
	}
}

func closeStore(path string) {
	if _, err := instances.Delete(path); err != nil {
		caddy.Log().Named(appName).Error("could not close a key store", zap.String("path", path), zap.Error(err))
	}
}

// realPath returns an absolute path without symbolic links, so that a directory
// has one name. Parts that do not exist yet stay as they are.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	missing := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(real, missing), nil
		}
		if dir == filepath.Dir(dir) {
			return path, nil
		}
		missing = filepath.Join(filepath.Base(dir), missing)
	}
}
