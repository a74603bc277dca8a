package store

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// maxLooked is the maximum number of keys that are searched for one page. So a page can
// be shorter than requested and still not be the last.
const maxLooked = 5000

// maxSorted is the maximum number of current keys of a workspace that are all read to
// find those of one status. If there are more, the page walks over all keys instead.
const maxSorted = 1000

// Keys returns a page of a workspace's keys, newest first, and the id after which the
// next page starts, "" if there is none. now determines the status of keys.
func (s *Store) Keys(ctx context.Context, workspaceID string, filter apikey.KeyFilter, page apikey.Page, now time.Time) (keys []*apikey.Key, next string, err error) {
	l := newLister(ctx, filter, page, now)
	l.ws = workspaceID
	err = s.view(func(txn *durable.Txn) error {
		l.txn = txn
		return l.prepare()
	})
	if err != nil {
		return nil, "", err
	}
	if l.searches() {
		leave, err := s.walks.enter(ctx, workspaceID)
		if err != nil {
			return nil, "", s.wrapInternal(err)
		}
		defer leave()
	}
	err = s.view(func(txn *durable.Txn) error {
		l.txn = txn
		return l.run()
	})
	if err != nil {
		return nil, "", err
	}
	return l.keys, l.next, nil
}

// lister reads one page.
type lister struct {
	ctx     context.Context
	pacer   *durable.Pacer
	txn     reader
	ws      string
	filter  apikey.KeyFilter
	query   string // folded
	page    apikey.Page
	now     time.Time
	current uint32 // how many current keys the workspace has

	looked int // how many keys were searched
	keys   []*apikey.Key
	next   string
}

func newLister(ctx context.Context, filter apikey.KeyFilter, page apikey.Page, now time.Time) *lister {
	return &lister{ctx: ctx, pacer: durable.NewPacer(ctx), filter: filter, query: apikey.FoldText(filter.Query), page: page, now: now}
}

func (l *lister) prepare() error {
	r, err := loadRoster(l.txn, l.ws)
	l.current = r.Current
	return err
}

// sorts reports whether all current keys are read to find those of a status.
func (l *lister) sorts() bool {
	switch l.filter.Status {
	case apikey.Active, apikey.Expired, apikey.Revoked:
		return l.current <= maxSorted
	}
	return false
}

// searches reports whether keys that are not on the page may have to be read.
func (l *lister) searches() bool { return l.query != "" || l.filter.Status != "" && !l.sorts() }

func (l *lister) run() error {
	if err := l.checkCursor(); err != nil {
		return err
	}
	return l.walk()
}

func (l *lister) walk() error {
	candidates, err := l.candidates()
	if err != nil {
		return err
	}
	last := ""
	for id, text := range candidates {
		if err := l.pacer.Step(); err != nil {
			return err
		}
		if l.looked++; l.looked > maxLooked {
			l.next = last
			return nil
		}
		last = id
		full, err := l.consider(id, text)
		if full || err != nil {
			return err
		}
	}
	return nil
}

// consider adds a key to the page if it matches, and reports whether the page was
// already full.
func (l *lister) consider(id string, text []byte) (full bool, err error) {
	if found, err := l.matches(id, text); err != nil || !found {
		return false, err
	}
	key, err := keyByID(l.txn, id)
	if err != nil || l.filter.Status != "" && key.Status(l.now) != l.filter.Status || !l.inTime(toMillis(key.ActiveUntil())) {
		return false, err
	}
	if len(l.keys) == l.page.Limit {
		l.next = l.keys[len(l.keys)-1].ID
		return true, nil
	}
	l.keys = append(l.keys, key)
	return false, addUse(l.txn, key)
}

// inTime reports whether a key that ends then may be on the page.
func (l *lister) inTime(end millis) bool {
	return l.filter.EndsBy.IsZero() || end <= toMillis(l.filter.EndsBy)
}

// matches reports whether the text of a key contains the query. If text is nil, it is
// looked up.
func (l *lister) matches(id string, text []byte) (found bool, err error) {
	if l.query == "" {
		return true, nil
	}
	if text == nil {
		if text, err = l.txn.Get(workspaceKey(l.ws, id)); err != nil {
			return false, err
		}
	}
	if strings.Trim(l.query, ".") == "" { // folding turns the ellipsis of a hint into full stops, so every key contains them
		text = text[:bytes.LastIndexByte(text, '\n')+1]
	}
	return bytes.Contains(text, []byte(l.query)), nil
}

// checkCursor refuses a cursor that is not a key of the workspace.
func (l *lister) checkCursor() error {
	if l.page.After == "" {
		return nil
	}
	return cursorIn(l.txn, workspaceKey(l.ws, ""), l.page.After)
}

// candidates returns the ids of the keys that may be on the page, newest first, and the
// text of each, or nil.
func (l *lister) candidates() (iter.Seq2[string, []byte], error) {
	if l.sorts() {
		return l.ofStatus()
	}
	return newestFirst(l.txn, workspaceKey(l.ws, ""), l.page.After), nil
}

// ofStatus returns the ids of the keys that can have a status: all current ones, which
// may have ended by now, and the ended ones with this status.
func (l *lister) ofStatus() (iter.Seq2[string, []byte], error) {
	var current []string
	err := eachMember(l.ctx, l.txn, l.ws, func(m member) error {
		if m.status(l.now) == l.filter.Status && l.inTime(m.End) && (l.page.After == "" || m.ID < l.page.After) {
			current = append(current, m.ID)
		}
		return nil
	})
	slices.SortFunc(current, func(a, b string) int { return strings.Compare(b, a) })
	return func(yield func(string, []byte) bool) {
		if l.filter.Status != apikey.Active {
			for id := range newestFirst(l.txn, endedKey(l.ws, l.filter.Status, ""), l.page.After) {
				for ; len(current) > 0 && current[0] > id; current = current[1:] {
					if !yield(current[0], nil) {
						return
					}
				}
				if !yield(id, nil) {
					return
				}
			}
		}
		for _, id := range current {
			if !yield(id, nil) {
				return
			}
		}
	}, err
}

// cursorIn refuses a cursor that is not in an index.
func cursorIn(txn reader, prefix []byte, after string) error {
	_, err := txn.Get(append(prefix[:len(prefix):len(prefix)], after...))
	if errors.Is(err, durable.ErrNotFound) {
		return apikey.ErrInvalidCursor
	}
	return err
}

// newestFirst returns the ids below a prefix and their values, newest first: all of
// them, or those before an id.
func newestFirst(txn reader, prefix []byte, before string) iter.Seq2[string, []byte] {
	var from []byte
	if before != "" {
		from = append(bytes.Clone(prefix), before...)
	}
	return func(yield func(string, []byte) bool) {
		for key, value := range txn.Backwards(prefix, from) {
			if !yield(string(key[len(prefix):]), value) {
				return
			}
		}
	}
}
