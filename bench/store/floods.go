package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"

	"golang.org/x/sync/errgroup"
)

// A flood is a call of the admin API that many callers repeat while requests are
// measured, about one workspace with many keys.
const (
	floodKeys    = 20_000
	floodCallers = 64
)

const flooded = "workspaces/workspace-0"

type flood struct{ name, path string }

// floods are all floods. The path of a feed is secret, and differs between stores.
var floods = []flood{
	{"searches", flooded + "/keys?q=nothing+has+this"},
	{"lists of revoked keys", flooded + "/keys?status=revoked"},
	{"counts", flooded},
	{"calendars", flooded + "/calendar.ics"},
	{"feeds", ""},
}

// impactOfFloods measures how each flood affects requests.
func impactOfFloods(ctx context.Context, dir, gateway string, measured map[string][]impact) error {
	defer os.RemoveAll(dir)
	server, d, err := startWith(ctx, dir, gateway, floodKeys, floodKeys)
	if err != nil {
		return err
	}
	defer server.stop()
	feed, err := makeFeed(ctx)
	if err != nil {
		return err
	}
	headers := headersOf(d.Tokens[:inUse])
	load(ctx, headers, aloneFor)
	for _, flood := range floods {
		path := flood.path
		if path == "" {
			path = feed
		}
		b, err := server.during(ctx, flood.name, headers, load(ctx, headers, aloneFor), func() error {
			return ask(ctx, path)
		})
		if err != nil {
			return err
		}
		measured[flood.name] = append(measured[flood.name], b)
	}
	return nil
}

func makeFeed(ctx context.Context) (path string, err error) {
	answer, err := call(ctx, http.MethodPost, flooded+"/calendar/feed", nil)
	if err != nil {
		return "", err
	}
	var feed struct{ Path string }
	err = json.Unmarshal(answer, &feed)
	return feed.Path[1:], err
}

// ask has all callers repeat a call.
func ask(ctx context.Context, path string) error {
	until, stop := context.WithTimeout(ctx, aloneFor)
	defer stop()
	var callers errgroup.Group
	for range floodCallers {
		callers.Go(func() error {
			for {
				_, err := call(until, http.MethodGet, path, nil)
				if until.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					return err
				}
			}
		})
	}
	return callers.Wait()
}
