package client

import (
	"context"
	"net/http"
	"time"
)

// Modes of a gateway of a fleet.
const (
	ModeStrict = "strict" // out of contact, it refuses all requests after a few seconds
	ModeStatic = "static" // out of contact, it keeps serving for a day
)

// States of a gateway of a fleet.
const (
	GatewayLoading = "loading" // it is copying the keys, and serves no request
	GatewayServing = "serving" // it serves requests while it is in contact
	// GatewayUnreadable is a gateway of which only the id is known: its registration was
	// written with another integrity key, or not by a gateway. It may serve.
	GatewayUnreadable = "unreadable"
	GatewayFenced     = "fenced" // another gateway has excluded it; it joins again by itself
)

// Fleet is the state of a fleet of gateways, as one of them sees it.
type Fleet struct {
	// Prefix is where the fleet keeps its keys in etcd.
	Prefix string `json:"prefix"`
	// Gateway is the id of the gateway that answers; "" if it has not joined yet.
	Gateway string `json:"gateway"`
	// Name is what the configuration calls the gateway that answers.
	Name string `json:"name"`
	// Mode is [ModeStrict] or [ModeStatic].
	Mode string `json:"mode"`
	// Committed is the number of the latest change of the fleet that is known.
	Committed uint64 `json:"committed"`
	// Applied is the number of the latest change that the gateway has applied.
	Applied uint64 `json:"applied"`
	// LastEnd is the number of the latest change that takes access away. A gateway that
	// has acknowledged a lower one may still allow what it took away.
	LastEnd uint64 `json:"last_end"`
	// LeaseMS is how long the gateway serves without further contact, in milliseconds; 0
	// if it does not serve.
	LeaseMS int64 `json:"lease_ms"`
	// HeardAt is when the gateway last knew that it had applied all changes; nil if it
	// does not serve.
	HeardAt *time.Time `json:"heard_at"`
	// Problem is why the gateway does not serve, or is out of contact; "" if all is well.
	Problem string `json:"problem,omitzero"`
	// Lost is what etcd has lost of the gateway's records; nil if it is nothing.
	Lost *LostRecords `json:"lost,omitzero"`
	// Gateways are all gateways that are known, in the order of their names.
	Gateways []FleetGateway `json:"gateways"`
	// GatewaysHeardAt is when etcd was last heard to have these gateways: later changes
	// are not in Gateways. It is nil if etcd has not been heard since the start.
	GatewaysHeardAt *time.Time `json:"gateways_heard_at"`
}

// LostRecords are records of a gateway that etcd has lost, as after it was restored from an
// old snapshot. The gateway puts them back, and serves no request before that is done.
type LostRecords struct {
	// Records is how many have to be put back.
	Records int `json:"records"`
	// Left is how many of them have yet to be.
	Left int `json:"left"`
	// Waiting means that there are too many to put back before [Client.ReconcileFleet] is
	// called.
	Waiting bool `json:"waiting"`
}

// FleetGateway is one gateway of a fleet.
type FleetGateway struct {
	// ID identifies the gateway from when it joins until it leaves.
	ID string `json:"id"`
	// Name is what its configuration calls it. Several gateways may have the same.
	Name string `json:"name"`
	// Mode is [ModeStrict] or [ModeStatic].
	Mode string `json:"mode"`
	// State is [GatewayLoading], [GatewayServing], [GatewayFenced] or [GatewayUnreadable].
	State string `json:"state"`
	// Version is that of the gateway's program.
	Version string `json:"version"`
	// StartedAt is when its server started, by its own clock.
	StartedAt time.Time `json:"started_at"`
	// Acknowledged is the number of the latest change that takes access away that it has
	// reported as applied.
	Acknowledged uint64 `json:"acknowledged"`
	// LeaseMS is how long it serves without contact at most, in milliseconds. Only the
	// gateway itself knows how much of that is left.
	LeaseMS int64 `json:"lease_ms"`
	// ClockAheadMS is how far its clock was ahead of the clock of the gateway that
	// answers, in milliseconds, when that one last heard from it; below zero if it was
	// behind. The time that the news took to arrive counts as behind. It is nil as long as
	// nothing was heard.
	ClockAheadMS *int64 `json:"clock_ahead_ms"`
}

// Rekeying is what one call of [Client.RekeyFleet] has done.
type Rekeying struct {
	// Checked is how many records the call was about.
	Checked int `json:"checked"`
	// Sealed is how many of them were sealed with another integrity key before.
	Sealed int `json:"sealed"`
	// Remaining is how many records are left for further calls.
	Remaining int `json:"remaining"`
	// NextCursor continues with the next records; nil if there are none.
	NextCursor *string `json:"next_cursor"`
}

type rekeyAnswer struct {
	Rekey *Rekeying `json:"rekey"`
}

func (a *rekeyAnswer) served() bool { return a.Rekey != nil }

type fleetAnswer struct {
	Fleet Fleet `json:"fleet"`
}

func (a *fleetAnswer) served() bool { return a.Fleet.Prefix != "" }

// Fleet returns the state of the fleet that the gateway belongs to. If it has a store of
// its own, the error is [CodeNotFound].
func (c *Client) Fleet(ctx context.Context) (Fleet, error) {
	var answer fleetAnswer
	err := c.call(ctx, http.MethodGet, "/fleet", nil, &answer)
	return answer.Fleet, err
}

// ReconcileFleet has the gateway put back whatever etcd has lost of its records, and does
// not wait for that: Lost is nil in the state of the fleet once it is done. If it does not
// wait for that, nothing is changed.
func (c *Client) ReconcileFleet(ctx context.Context) (Fleet, error) {
	var answer fleetAnswer
	err := c.call(ctx, http.MethodPost, "/fleet/reconcile", nil, &answer)
	return answer.Fleet, err
}

// RekeyFleet seals some of the records of a fleet again in etcd: those that were not sealed
// with the first integrity key of the gateway. It changes no key. A call takes some seconds:
// call it with the NextCursor of the one before, "" at first, until there is none. Once a
// whole run has sealed nothing, no record needs another key. It is refused with
// [CodeIntegrityKeyDiffers] while another gateway seals with another key.
func (c *Client) RekeyFleet(ctx context.Context, cursor string) (Rekeying, error) {
	var answer rekeyAnswer
	if err := c.call(ctx, http.MethodPost, withQuery("/fleet/rekey", map[string]string{"cursor": cursor}), nil, &answer); err != nil {
		return Rekeying{}, err
	}
	return *answer.Rekey, nil
}
