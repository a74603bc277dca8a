package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Fleet is the fleet of gateways that the gateway belongs to, as this package needs it.
type Fleet interface {
	// Status returns the state of the fleet, and asks for its latest change.
	Status(ctx context.Context) apikey.FleetStatus
	// Rekey seals some of its records again that come after a place, "" for the first. It
	// fails with [apikey.ErrIntegrityKeyDiffers] if another gateway seals with another key.
	Rekey(ctx context.Context, after string) (apikey.Rekeyed, error)
	// Known returns it as far as the gateway knows it, without waiting.
	Known() apikey.FleetStatus
	// PutBack has the gateway put back everything that etcd has lost, and does not wait
	// for that.
	PutBack()
}

// fleet returns the fleet that the gateway belongs to, or nil.
func (h *Handler) fleet() Fleet {
	if h.Fleet == nil {
		return nil
	}
	return h.Fleet()
}

// fleetAnswer is the state of a fleet.
type fleetAnswer struct {
	Fleet client.Fleet `json:"fleet"`
}

// showFleet answers without a lease too: that is when it is needed.
func (h *Handler) showFleet(r *http.Request) (int, any, error) {
	fleet := h.fleet()
	if fleet == nil {
		return 0, nil, cmp.Or(h.keys().Ping(), error(errNoFleet))
	}
	return http.StatusOK, presentFleet(fleet.Status(r.Context())), nil
}

// rekeyFleet seals some records of the fleet again. Callers repeat it, so that none takes
// long, and they see how far it is.
func (h *Handler) rekeyFleet(r *http.Request) (int, any, error) {
	query, err := queryOf(r, "cursor")
	if err != nil {
		return 0, nil, err
	}
	page, err := pageOf(query, "rekey", func(string) bool { return true })
	if err != nil {
		return 0, nil, err
	}
	fleet := h.fleet()
	if fleet == nil {
		return 0, nil, cmp.Or(h.keys().Ping(), error(errNoFleet))
	}
	done, err := fleet.Rekey(r.Context(), page.After)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, rekeyAnswer{client.Rekeying{
		Checked: done.Checked, Sealed: done.Sealed, Remaining: done.Remaining, NextCursor: cursorFor("rekey", done.Next),
	}}, nil
}

type rekeyAnswer struct {
	Rekey client.Rekeying `json:"rekey"`
}

// reconcileFleet has the gateway put back what etcd has lost, and answers immediately: it
// takes as long as a restore.
func (h *Handler) reconcileFleet(r *http.Request) (int, any, error) {
	if fleet := h.fleet(); fleet != nil {
		fleet.PutBack()
	}
	return h.showFleet(r)
}

func presentFleet(s apikey.FleetStatus) fleetAnswer {
	shown := client.Fleet{
		Prefix: s.Prefix, Gateway: s.Gateway, Name: s.Name, Mode: s.Mode, Committed: s.Committed, Applied: s.Applied, LastEnd: s.LastEnd,
		LeaseMS: s.Lease.Milliseconds(), Problem: s.Problem, Gateways: make([]client.FleetGateway, 0, len(s.Gateways)),
	}
	if !s.Heard.IsZero() {
		heard := shownTime(s.Heard)
		shown.HeardAt = &heard
	}
	if !s.GatewaysHeard.IsZero() {
		heard := shownTime(s.GatewaysHeard)
		shown.GatewaysHeardAt = &heard
	}
	if s.Lost != nil {
		shown.Lost = &client.LostRecords{Records: s.Lost.Records, Left: s.Lost.Left, Waiting: s.Lost.Waiting}
	}
	for _, g := range s.Gateways {
		one := client.FleetGateway{
			ID: g.ID, Name: g.Name, Mode: g.Mode, State: g.State, Version: g.Version, StartedAt: shownTime(g.StartedAt),
			Acknowledged: g.Acknowledged, LeaseMS: g.Lease.Milliseconds(),
		}
		if g.Ahead != nil {
			ahead := g.Ahead.Milliseconds()
			one.ClockAheadMS = &ahead
		}
		shown.Gateways = append(shown.Gateways, one)
	}
	return fleetAnswer{shown}
}

// contact says that a gateway serves without contact with its fleet, "" if it is in contact.
func contact(s apikey.FleetStatus) string {
	if s.Problem == "" {
		return ""
	}
	return fmt.Sprintf("out of contact since %s: later changes of other gateways are not known here, and without contact all requests are refused from %s on",
		s.Heard.UTC().Format(time.RFC3339), time.Now().Add(s.Lease).UTC().Format(time.RFC3339))
}
