package store

import (
	"context"
	"errors"
	"strings"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// maxCounted is the number of current keys with which a page of workspaces ends: to count
// the keys of a workspace, all current ones are read. The longest page has room for as
// many as max_active_keys allows by default.
const maxCounted = 20_000

// Workspaces returns a page of the workspaces that have keys, active or ended, or are
// suspended: those whose ids contain a text, ignoring case, in the order of their ids;
// and the id after which the next page starts, "" if there is none. That workspace may be
// gone by then.
//
// A page takes no longer with more workspaces, and is short enough for the keys of all its
// workspaces to be counted: it can be shorter than requested, or empty, and still not be
// the last.
func (s *Store) Workspaces(ctx context.Context, query string, page apikey.Page) (found []apikey.Workspace, next string, err error) {
	if query = apikey.FoldText(query); query != "" { // others may have to be read than are found
		leave, err := s.walks.enter(ctx, allWorkspaces)
		if err != nil {
			return nil, "", s.wrapInternal(err)
		}
		defer leave()
	}
	err = s.view(func(txn *durable.Txn) error {
		found, next, err = workspacePage(ctx, txn, query, page)
		return err
	})
	return found, next, err
}

func workspacePage(ctx context.Context, txn reader, query string, page apikey.Page) (found []apikey.Workspace, next string, err error) {
	pacer, last := durable.NewPacer(ctx), page.After
	looked, counted := 0, 0
	for id := range workspaceIDs(txn, following(last)) {
		matches := strings.Contains(apikey.FoldText(id), query)
		if looked == maxLooked || counted >= maxCounted || matches && len(found) == page.Limit {
			return found, last, nil
		}
		looked, last = looked+1, id
		if err := pacer.Step(); err != nil {
			return nil, "", err
		}
		if !matches {
			continue
		}
		ws, wsErr := workspaceByID(txn, id)
		r, err := loadRoster(txn, id)
		if err := errors.Join(wsErr, err); err != nil {
			return nil, "", err
		}
		found, counted = append(found, ws), counted+int(r.Current)
	}
	return found, "", nil
}
