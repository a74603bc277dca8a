package store

import (
	"errors"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// Events say who suspended or resumed a workspace: a restore reinstates an operator's
// suspension unless an operator has ended it.
const (
	detailBy    = "by"
	byOperator  = "operator"
	byWorkspace = "workspace" // the workspace's own administrator
)

func by(own bool) string {
	if own {
		return byWorkspace
	}
	return byOperator
}

func suspend(txn *transaction, change apikey.Change, do apikey.Suspend) (apikey.Outcome, error) {
	ws, err := workspaceByID(txn, do.WorkspaceID)
	if err != nil {
		return apikey.Outcome{}, err
	}
	if ws.Suspended() && (do.Own || !ws.Own) {
		return apikey.Outcome{Workspace: ws, Unchanged: true}, nil
	}
	var told error
	if !ws.Suspended() { // or else an operator takes over
		told = txn.tellOfWorkspace(webhook.WorkspaceSuspended, ws.ID, change.At)
	}
	ws.SuspendedAt, ws.Reason, ws.Own = change.At, do.Reason, do.Own
	err = errors.Join(told, putSuspension(txn, ws))
	return apikey.Outcome{Workspace: ws, Event: apikey.Event{Details: map[string]any{"reason": ws.Reason, detailBy: by(do.Own)}}}, err
}

func resume(txn *transaction, change apikey.Change, do apikey.Resume) (apikey.Outcome, error) {
	ws, err := workspaceByID(txn, do.WorkspaceID)
	if err != nil {
		return apikey.Outcome{}, err
	}
	if !ws.Suspended() {
		return apikey.Outcome{Workspace: ws, Unchanged: true}, nil
	}
	if do.Own && !ws.Own {
		return apikey.Outcome{}, apikey.ErrSuspendedByOperator
	}
	return apikey.Outcome{
		Workspace: apikey.Workspace{ID: ws.ID}, Event: apikey.Event{Details: map[string]any{detailBy: by(do.Own)}},
	}, errors.Join(eraseSuspension(txn, ws.ID), txn.tellOfWorkspace(webhook.WorkspaceResumed, ws.ID, change.At))
}
