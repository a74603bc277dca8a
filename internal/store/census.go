package store

import (
	"context"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Census is the number of keys in the store.
type Census struct {
	// Keys has every status and preset, even if there are no such keys.
	Keys map[apikey.Status]map[apikey.Preset]int
	// Expiring is how many active keys end, by expiry or scheduled revocation, within
	// 24 hours, 7, 14 and 30 days. The longer periods include the shorter ones.
	Expiring map[time.Duration]int
	// SuspendedWorkspaces is the number of suspended workspaces.
	SuspendedWorkspaces int
}

const oneDay = 24 * time.Hour

var expiringWithin = [...]time.Duration{oneDay, 7 * oneDay, 14 * oneDay, 30 * oneDay}

// Census counts all keys by their status at the given time. It reads tallies rather
// than keys: ten million keys take no longer than a thousand.
func (s *Store) Census(ctx context.Context, now time.Time) (census Census, err error) {
	err = s.view(func(txn *durable.Txn) error {
		census, err = takeCensus(ctx, txn, now)
		return err
	})
	return census, err
}

func takeCensus(ctx context.Context, txn reader, now time.Time) (c Census, err error) {
	ends, err := readEnds(ctx, txn)
	if err != nil {
		return Census{}, err
	}
	ended, err := ends.by(now)
	if err != nil {
		return Census{}, err
	}
	c.Keys = byStatus(ends.total(), ended)
	c.Expiring = make(map[time.Duration]int)
	for _, within := range expiringWithin {
		later, err := ends.by(now.Add(within))
		if err != nil {
			return Census{}, err
		}
		c.Expiring[within] = int(later.sum() - ended.sum())
	}
	c.SuspendedWorkspaces, err = countSuspended(ctx, txn)
	return c, err
}

// byStatus derives counts by status from those of all keys and of ended ones.
func byStatus(all, ended tally) map[apikey.Status]map[apikey.Preset]int {
	keys := map[apikey.Status]map[apikey.Preset]int{apikey.Active: {}, apikey.Expired: {}, apikey.Revoked: {}}
	for i, class := range classes {
		keys[class.status][class.preset] = int(ended[i])
		keys[apikey.Active][class.preset] += int(all[i] - ended[i])
	}
	return keys
}

func countSuspended(ctx context.Context, txn reader) (n int, err error) {
	for range txn.Below([]byte("s/")) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
