package client

import (
	"context"
	"net/http"
	"strings"
)

// DayUsage is how many requests there were with a key on one day, on all gateways that
// share the key. A gateway's own requests are in it after at most ten seconds.
type DayUsage struct {
	// Day is the day, UTC, as in "2026-11-29".
	Day string `json:"day"`
	// Reads are the requests that were allowed and only read.
	Reads uint64 `json:"reads"`
	// Writes are the requests that were allowed and may have written.
	Writes uint64 `json:"writes"`
	// Refused are the requests that were refused because the key had expired or was
	// revoked, its workspace was suspended, they came from a browser, or they were writes
	// and the key is read-only.
	Refused uint64 `json:"refused"`
	// RateLimited are the requests that a limit refused.
	RateLimited uint64 `json:"rate_limited"`
}

type usageAnswer struct {
	Usage []DayUsage `json:"usage"`
}

type usageOfKeysAnswer struct {
	Usage map[string][]DayUsage `json:"usage"`
}

func (a *usageAnswer) served() bool       { return a.Usage != nil }
func (a *usageOfKeysAnswer) served() bool { return a.Usage != nil }

// ShowUsage returns how often a key was used on each of the last days, oldest first, and
// without the days on which it was not. days is from 1, which is today, to 90; 0 means 30.
// It also works for a key that has expired or was revoked.
func (c *Client) ShowUsage(ctx context.Context, ws, id string, days int) ([]DayUsage, error) {
	path, err := keyPath(ws, id, "/usage")
	if err != nil {
		return nil, err
	}
	var answer usageAnswer
	err = c.call(ctx, http.MethodGet, withQuery(path, map[string]string{"days": positive(days)}), nil, &answer)
	return answer.Usage, err
}

// ListUsage is [Client.ShowUsage] for up to 200 keys of a workspace, such as those on a
// page of [Client.ListKeys]. It returns their usage by id; keys that the workspace does not
// have are left out.
func (c *Client) ListUsage(ctx context.Context, ws string, ids []string, days int) (map[string][]DayUsage, error) {
	path, err := workspacePath(ws, "/usage")
	for _, id := range ids {
		if err == nil && !keyID.MatchString(id) {
			err = errKeyID(id)
		}
	}
	if err != nil || len(ids) == 0 {
		return map[string][]DayUsage{}, err
	}
	var answer usageOfKeysAnswer
	err = c.call(ctx, http.MethodGet, withQuery(path, map[string]string{"keys": strings.Join(ids, ","), "days": positive(days)}), nil, &answer)
	return answer.Usage, err
}
