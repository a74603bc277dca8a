package admin

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// calendarLife bounds how long a calendar is cached. It is dropped earlier if a
	// key of its workspace changes or ends.
	calendarLife = 30 * time.Second
	// calendarTimeout bounds how long making a calendar may take. Everybody who
	// waits for it shares it, so making it continues when the first of them gives
	// up.
	calendarTimeout = 30 * time.Second
	// calendarsSize bounds the size of all cached calendars together, in bytes.
	calendarsSize = 32 << 20
)

// calendars caches the calendars of workspaces for a while: anyone who knows the
// address of a feed can request it as often as they like.
type calendars struct {
	making singleflight.Group

	mu    sync.Mutex
	bytes int
	of    map[string]calendar // by workspace
}

// calendar is a cached calendar.
type calendar struct {
	document
	keys    Keys      // the store that it was made from
	version uint64    // of the workspace, read before it was made
	until   time.Time // when the next of its keys ends
}

// get returns the calendar of a workspace: the cached one, or what build makes.
func (c *calendars) get(ctx context.Context, keys Keys, ws string, now time.Time, build func(context.Context) (calendar, error)) (document, error) {
	version := keys.Version(ws)
	if made, ok := c.remembered(ws); ok && made.keys == keys && made.version == version && now.Before(made.until) {
		return made.document, nil
	}
	result := c.making.DoChan(fmt.Sprint(ws, " ", version), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), calendarTimeout)
		defer cancel()
		made, err := build(ctx)
		if err == nil {
			made.keys, made.version = keys, version
			c.remember(ws, made)
		}
		return made.document, err
	})
	select {
	case r := <-result:
		made, _ := r.Val.(document)
		return made, r.Err
	case <-ctx.Done():
		return document{}, ctx.Err()
	}
}

func (c *calendars) remembered(ws string) (calendar, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	made, ok := c.of[ws]
	return made, ok
}

// remember caches a calendar, and evicts others, in no particular order, if they
// exceed the limit together.
func (c *calendars) remember(ws string, made calendar) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[string]calendar)
	}
	c.bytes += len(made.body) - len(c.of[ws].body)
	c.of[ws] = made
	for other, old := range c.of {
		if c.bytes <= calendarsSize {
			return
		}
		delete(c.of, other)
		c.bytes -= len(old.body)
	}
}
