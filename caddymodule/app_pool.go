package caddymodule

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// gateways are keyed by the real path of their store, and by nothing else: two
// configurations can differ in how they use a store, never in which it is.
var gateways = caddy.NewUsagePool()

// acquire returns the gateway of the store at path, opening it if it is not.
func acquire(path string, settings settings, log *zap.Logger) (*gateway, error) {
	g, loaded, err := gateways.LoadOrNew(path, func() (caddy.Destructor, error) {
		return openGateway(path, settings, log)
	})
	if err != nil {
		return nil, err
	}
	found := g.(*gateway)
	if loaded {
		found.adopt(settings)
		found.authn.Retire(false)
	} else {
		warnOfFewDescriptors(log)
	}
	return found, nil
}

// opened returns the gateway of the store at path if somebody has it open.
func opened(path string) (found *gateway) {
	gateways.Range(func(key, value any) bool {
		if key == path {
			found = value.(*gateway)
		}
		return found == nil
	})
	return found
}

// drain is how long a store stays open after the last configuration that used
// it was replaced. Caddy does not wait for the requests that the old
// configuration has accepted, and they are to be judged by the store that they
// were meant for. It covers Caddy's own limit for reading a request's headers.
const drain = 2 * time.Minute

// releasing are the stores that are held open only for requests on their way.
var releasing = struct {
	sync.Mutex
	timers map[*time.Timer]string
}{timers: make(map[*time.Timer]string)}

func init() { caddy.OnExit(func(context.Context) { releaseAll() }) }

// release lets go of the store at path: at once if the process is about to end,
// because by then no request is under way, and otherwise after the drain.
func release(path string) error {
	if caddy.Exiting() {
		_, err := gateways.Delete(path)
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

// soleUser reports whether only one configuration uses the store at path, beside
// those that are draining.
func soleUser(path string) bool {
	releasing.Lock()
	defer releasing.Unlock()
	users, _ := gateways.References(path)
	for _, draining := range releasing.timers {
		if draining == path {
			users--
		}
	}
	return users == 1
}

// releaseAll ends every drain, when the process is about to end.
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
	if _, err := gateways.Delete(path); err != nil {
		caddy.Log().Named(appName).Error("closing a key store", zap.String("path", path), zap.Error(err))
	}
}
