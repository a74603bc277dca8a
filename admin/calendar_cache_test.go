package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// counting counts how often the active keys are read.
type counting struct {
	*store.Store
	reads atomic.Int64
}

func (c *counting) EachActive(ctx context.Context, ws string, now time.Time, visit func(*apikey.Key) error) error {
	c.reads.Add(1)
	return c.Store.EachActive(ctx, ws, now, visit)
}

// A calendar is made again only when something in it changes, and is not sent to
// clients that have it.
func TestCalendar_cached(t *testing.T) {
	c := new(counting)
	a := newAPI(t, func(config *Config) {
		c.Store = config.Keys().(*store.Store)
		config.Keys = func() Keys { return c }
	})
	id, _ := a.create(t, "acme", "Zapier")
	a.create(t, "other", "Billing")
	const path = "/workspaces/acme/calendar.ics"
	get := func(made int64) reply {
		t.Helper()
		before := c.reads.Load()
		got := a.send(t, "GET", path, "")
		equal(t, "how often it was made", c.reads.Load()-before, made)
		return got
	}
	first := get(1)
	tag := first.header.Get("ETag")
	if !strings.HasPrefix(tag, `W/"`) {
		t.Fatalf("got the ETag %q, want a weak one", tag)
	}
	equal(t, "again", get(0).raw, first.raw)
	known := func(made int64) int {
		t.Helper()
		before := c.reads.Load()
		r, _ := http.NewRequest("GET", a.URL+path, nil)
		r.Header.Set("If-None-Match", tag)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		equal(t, "how often it was made", c.reads.Load()-before, made)
		equal(t, "the ETag is another", response.Header.Get("ETag") != tag, response.StatusCode == http.StatusOK)
		return response.StatusCode
	}
	equal(t, "for who has it", known(0), http.StatusNotModified)

	a.create(t, "other", "Export")
	a.at(start.Add(calendarLife - time.Second))
	get(0)
	a.at(start.Add(calendarLife))
	equal(t, "made again, and the same", known(1), http.StatusNotModified)
	a.must(t, http.StatusOK, "PATCH", keysPage+"/"+id, `{"owner":"Kim"}`)
	equal(t, "changed", known(1), http.StatusOK)
	a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", "")
	if got := get(1); strings.Contains(got.raw, id) {
		t.Errorf("got %s, want it without a revoked key", got.raw)
	}

	// A key that ends is gone at once.
	short := a.must(t, http.StatusCreated, "POST", keysPage, `{"name":"Short-lived","preset":"read_only","expires_in":"2s"}`)
	if got := get(1); !strings.Contains(got.raw, "Short-lived") {
		t.Errorf("got %s, want %v in it", got.raw, short.body)
	}
	a.at(start.Add(calendarLife + 2*time.Second))
	if got := get(1); strings.Contains(got.raw, "Short-lived") {
		t.Errorf("got %s, want it without a key that has expired", got.raw)
	}
}

// The calendars of any number of workspaces take a bounded amount of memory.
func TestCalendars_bounded(t *testing.T) {
	var c calendars
	for i := range 20 {
		c.remember(fmt.Sprint(i), calendar{document: document{body: make([]byte, calendarsSize/8)}})
		c.remember(fmt.Sprint(i), calendar{document: document{body: make([]byte, calendarsSize/8)}})
	}
	sum := 0
	for _, made := range c.of {
		sum += len(made.body)
	}
	if sum != c.bytes || sum > calendarsSize || sum == 0 {
		t.Errorf("got %d bytes counted as %d, want up to %d", sum, c.bytes, calendarsSize)
	}
	c.remember("large", calendar{document: document{body: make([]byte, calendarsSize+1)}})
	if c.bytes > calendarsSize {
		t.Errorf("got %d bytes, want up to %d", c.bytes, calendarsSize)
	}
}
