package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// EachActive calls visit for each active key of a workspace, in the order in which they
// will end, without their last uses. Requests take precedence while it runs.
func (s *Store) EachActive(ctx context.Context, workspaceID string, now time.Time, visit func(*apikey.Key) error) error {
	leave, err := s.walks.enter(ctx, workspaceID)
	if err != nil {
		return s.wrapInternal(err)
	}
	defer leave()
	return s.view(func(txn *durable.Txn) error {
		active, err := activeMembers(ctx, txn, workspaceID, now)
		if err != nil {
			return err
		}
		slices.SortFunc(active, func(a, b member) int { return cmp.Or(cmp.Compare(a.End, b.End), strings.Compare(a.ID, b.ID)) })
		p := durable.NewPacer(ctx)
		for _, m := range active {
			if err := p.Step(); err != nil {
				return err
			}
			key, err := keyByID(txn, m.ID)
			if err == nil {
				err = visit(key)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// countsRemembered is the number of workspaces whose counts are cached.
const countsRemembered = 4096

func newCounts() *otter.Cache[string, keyCounts] {
	return otter.Must(&otter.Options[string, keyCounts]{MaximumSize: countsRemembered})
}

// keyCounts are cached counts of the keys of a workspace, by status.
type keyCounts struct {
	version     uint64    // of the workspace, before the keys were counted
	from, until time.Time // no key ends in between
	of          map[apikey.Status]int
}

// CountKeys counts a workspace's keys by their status at now. It reads the current keys
// only if one of them has changed or ended since they were last counted.
func (s *Store) CountKeys(ctx context.Context, workspaceID string, now time.Time) (map[apikey.Status]int, error) {
	if counts, ok := s.rememberedCounts(workspaceID, now); ok {
		return counts, s.Ping()
	}
	leave, err := s.walks.enter(ctx, workspaceID)
	if err != nil {
		return nil, s.wrapInternal(err)
	}
	defer leave()
	if counts, ok := s.rememberedCounts(workspaceID, now); ok { // another call has just counted them
		return counts, s.Ping()
	}
	counts := keyCounts{version: s.Version(workspaceID)}
	if err := s.view(func(txn *durable.Txn) (err error) {
		return counts.count(ctx, txn, workspaceID, now)
	}); err != nil {
		return nil, err
	}
	s.counts.Set(workspaceID, counts)
	return maps.Clone(counts.of), nil
}

func (s *Store) rememberedCounts(workspaceID string, now time.Time) (map[apikey.Status]int, bool) {
	counts, ok := s.counts.GetIfPresent(workspaceID)
	if !ok || counts.version != s.Version(workspaceID) || now.Before(counts.from) || !now.Before(counts.until) {
		return nil, false
	}
	return maps.Clone(counts.of), true
}

func (c *keyCounts) count(ctx context.Context, txn reader, ws string, now time.Time) error {
	r, err := loadRoster(txn, ws)
	if err != nil {
		return err
	}
	c.of = map[apikey.Status]int{apikey.Expired: r.Expired, apikey.Revoked: r.Revoked}
	first := toMillis(now.AddDate(1, 0, 0)) // no need to look further ahead
	err = eachMember(ctx, txn, ws, func(m member) error {
		c.of[m.status(now)]++
		if m.active(now) {
			first = min(first, m.End)
		}
		return nil
	})
	c.from, c.until = now, first.time()
	return err
}
