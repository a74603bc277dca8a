package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// allWorkspaces is the lane of walks over all workspaces: see walks.
const allWorkspaces = ""

// FindKey returns a key of whichever workspace has it, or [apikey.ErrNotFound].
func (s *Store) FindKey(_ context.Context, keyID string) (key *apikey.Key, err error) {
	err = s.view(func(txn *durable.Txn) error {
		if key, err = knownKey(txn, keyID); err != nil {
			return err
		}
		return addUse(txn, key)
	})
	return key, err
}

// FindKeys returns a page of the keys of all workspaces, in the order of the ids of
// these, and each workspace's newest first; and the [apikey.Place] after which the next
// page starts, "" if there is none. A key or workspace of such a place may be gone.
//
// A page takes no longer with more keys: it can be shorter than requested, or empty, and
// still not be the last.
func (s *Store) FindKeys(ctx context.Context, filter apikey.KeyFilter, page apikey.Page, now time.Time) (keys []*apikey.Key, next string, err error) {
	f := &finder{lister: newLister(ctx, filter, page, now)}
	if page.After != "" {
		if f.after, err = apikey.ParsePlace(page.After); err != nil {
			return nil, "", err
		}
	}
	if !filter.EndsBy.IsZero() {
		if f.filter.Status = cmp.Or(filter.Status, apikey.Active); f.filter.Status != apikey.Active {
			return nil, "", nil
		}
	}
	if f.query != "" || f.filter.Status != "" { // keys that are not on the page may have to be read
		leave, err := s.walks.enter(ctx, allWorkspaces)
		if err != nil {
			return nil, "", s.wrapInternal(err)
		}
		defer leave()
	}
	err = s.view(func(txn *durable.Txn) error {
		f.txn = txn
		return f.run()
	})
	if err != nil {
		return nil, "", err
	}
	return f.keys, f.next, nil
}

// finder reads one page of the keys of all workspaces, those of one after the other.
type finder struct {
	*lister
	after apikey.Place
}

func (f *finder) run() error {
	if !f.filter.EndsBy.IsZero() {
		soon, few, err := f.endingSoon()
		if err != nil {
			return err
		}
		if few {
			return f.choose(soon)
		}
	}
	from, last := f.after.WorkspaceID, f.after
	if last.KeyID == "" {
		from = following(from)
	}
	for ws := range workspaceIDs(f.txn, from) {
		if f.looked >= maxLooked {
			f.next = last.String()
			return nil
		}
		if err := f.workspace(ws); err != nil || f.next != "" {
			return err
		}
		last = apikey.Place{WorkspaceID: ws}
	}
	return nil
}

// workspace adds the keys of a workspace to the page, and sets next if the page ends.
func (f *finder) workspace(ws string) error {
	f.ws, f.page.After = ws, ""
	if ws == f.after.WorkspaceID {
		f.page.After = f.after.KeyID
	}
	if err := errors.Join(f.pacer.Step(), f.prepare()); err != nil {
		return err
	}
	if err := f.walk(); err != nil {
		return err
	}
	f.looked++
	if f.sorts() {
		f.looked += int(f.current)
	}
	if f.next != "" {
		f.endAt(f.next)
	}
	return nil
}

// endingSoon returns the places of all keys that end in time, in order, unless there are
// more than are searched for one page.
func (f *finder) endingSoon() (soon []apikey.Place, few bool, err error) {
	from, to := toMillis(f.now)+1, toMillis(f.filter.EndsBy)+1
	err = eachEnding(f.ctx, f.txn, from, to, func(_ ending, keyID string) error {
		if len(soon) == maxLooked {
			return errEnough
		}
		soon = append(soon, apikey.Place{KeyID: keyID})
		return f.pacer.Step()
	})
	if errors.Is(err, errEnough) {
		return nil, false, nil
	}
	for i := range soon {
		key, keyErr := keyByID(f.txn, soon[i].KeyID)
		if err := errors.Join(err, keyErr, f.pacer.Step()); err != nil {
			return nil, false, err
		}
		soon[i].WorkspaceID = key.WorkspaceID
	}
	slices.SortFunc(soon, comparePlaces)
	return soon, true, err
}

// comparePlaces orders keys as they are listed.
func comparePlaces(a, b apikey.Place) int {
	return cmp.Or(strings.Compare(a.WorkspaceID, b.WorkspaceID), strings.Compare(b.KeyID, a.KeyID))
}

// choose fills the page with those of some keys that match.
func (f *finder) choose(keys []apikey.Place) error {
	for _, place := range keys {
		if f.passed(place) {
			continue
		}
		f.ws = place.WorkspaceID
		full, err := f.consider(place.KeyID, nil)
		if err := errors.Join(err, f.pacer.Step()); err != nil {
			return err
		}
		if full {
			f.endAt(f.next)
			return nil
		}
	}
	return nil
}

// passed reports whether a place is on an earlier page.
func (f *finder) passed(place apikey.Place) bool {
	if f.after.KeyID == "" {
		return place.WorkspaceID <= f.after.WorkspaceID
	}
	return comparePlaces(place, f.after) <= 0
}

// endAt ends the page at a key of the current workspace, or the last one on the page,
// which may be of an earlier workspace.
func (f *finder) endAt(keyID string) {
	place := apikey.Place{WorkspaceID: f.ws, KeyID: keyID}
	if n := len(f.keys); n > 0 && f.keys[n-1].ID == keyID {
		place.WorkspaceID = f.keys[n-1].WorkspaceID
	}
	f.next = place.String()
}
