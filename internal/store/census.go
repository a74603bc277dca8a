package store

import (
	"context"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Census is how many keys there are.
type Census struct {
	// Keys has every status and every preset, also where there are none.
	Keys map[apikey.Status]map[apikey.Preset]int
	// Expiring is how many active keys end within 24 hours, 7, 14 and 30 days, be
	// it that they expire or that they are to be revoked then. What is within one
	// is within the longer ones too.
	Expiring map[time.Duration]int
	// SuspendedWorkspaces is how many workspaces are suspended.
	SuspendedWorkspaces int
}

const oneDay = 24 * time.Hour

var expiringWithin = [...]time.Duration{oneDay, 7 * oneDay, 14 * oneDay, 30 * oneDay}

// Census counts all keys by what they are at the given instant. It reads tallies
// and walks over no keys: ten million cost it as much as a thousand.
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
	c.Keys = byStatus(ends.ever(), ended)
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

// byStatus makes counts of all keys, and of those that have ended, into counts
// of what the keys are.
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
