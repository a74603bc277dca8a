package admin

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// calendarLife bounds how long a calendar is remembered. It is forgotten sooner
	// where a key of its workspace has changed or ended.
	calendarLife = 30 * time.Second
	// calendarTimeout bounds how long it may take to make one. It is made for
	// everybody who waits for it, and so not given up with the first of them.
	calendarTimeout = 30 * time.Second
	// calendarsSize bounds the bytes of all calendars that are remembered.
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

// calendar is one that was made.
type calendar struct {
	document
	keys    Keys      // the store that it was made from,
	version uint64    // what that said of the workspace before,
	until   time.Time // and when the next of its keys ends
}

// get returns the calendar of a workspace: the remembered one, or what build makes.
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
