package admin

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// inState is a fleet in a given state.
type inState apikey.FleetStatus

func (s inState) Status(context.Context) apikey.FleetStatus { return apikey.FleetStatus(s) }
func (s inState) Known() apikey.FleetStatus                 { return apikey.FleetStatus(s) }
func (s inState) PutBack() {
	if s.Lost != nil {
		s.Lost.Waiting = false
	}
}
func (s inState) Rekey(context.Context, string) (apikey.Rekeyed, error) {
	return apikey.Rekeyed{}, errors.New("etcd does not answer")
}

// inFleet serves the API of a gateway of a fleet.
func inFleet(t *testing.T, state apikey.FleetStatus) *api {
	return newAPI(t, func(c *Config) { c.Fleet = func() Fleet { return inState(state) } })
}

func TestFleet(t *testing.T) {
	behind := -1500 * time.Millisecond
	a := inFleet(t, apikey.FleetStatus{
		Prefix: "/api-keys/", Gateway: "A", Name: "eu-1", Mode: apikey.ModeStrict, Committed: 7, Applied: 6, LastEnd: 5, Lease: 1200 * time.Millisecond,
		Heard: start.Add(1500 * time.Microsecond), GatewaysHeard: start.Add(time.Second),
		Gateways: []apikey.GatewayStatus{
			{ID: "A", Name: "eu-1", Mode: apikey.ModeStrict, State: apikey.GatewayServing, Version: "v1", StartedAt: start, Acknowledged: 5, Lease: 15 * time.Second},
			{ID: "B", Name: "eu-2", Mode: apikey.ModeStatic, State: apikey.GatewayFenced, Version: "v2", StartedAt: start, Acknowledged: 3, Lease: 24 * time.Hour, Ahead: &behind},
		},
	})
	equal(t, "fleet", a.must(t, http.StatusOK, "GET", "/fleet", "").body, object(t, `{"fleet":{
		"prefix":"/api-keys/","gateway":"A","name":"eu-1","mode":"strict","committed":7,"applied":6,"last_end":5,"lease_ms":1200,"heard_at":"2026-03-01T12:00:00.001Z",
		"gateways":[
			{"id":"A","name":"eu-1","mode":"strict","state":"serving","version":"v1","started_at":"2026-03-01T12:00:00Z","acknowledged":5,"lease_ms":15000,"clock_ahead_ms":null},
			{"id":"B","name":"eu-2","mode":"static","state":"fenced","version":"v2","started_at":"2026-03-01T12:00:00Z","acknowledged":3,"lease_ms":86400000,"clock_ahead_ms":-1500}
		],"gateways_heard_at":"2026-03-01T12:00:01Z"}}`))
	equal(t, "health", a.must(t, http.StatusOK, "GET", "/healthz", "").body, object(t, `{"status":"ok"}`))

	alone := newAPI(t)
	got := alone.refused(t, http.StatusNotFound, "not_found", "", "GET", "/fleet", "")
	equal(t, "error", got.body["error"], any(errNoFleet.Message))
}

// A gateway that serves nobody says why.
func TestFleet_notServing(t *testing.T) {
	a := inFleet(t, apikey.FleetStatus{Prefix: "/api-keys/", Name: "eu-1", Mode: apikey.ModeStrict, Problem: "no member of etcd answers"})
	equal(t, "fleet", a.must(t, http.StatusOK, "GET", "/fleet", "").body, object(t, `{"fleet":{
		"prefix":"/api-keys/","gateway":"","name":"eu-1","mode":"strict","committed":0,"applied":0,"last_end":0,"lease_ms":0,"heard_at":null,
		"problem":"no member of etcd answers","gateways":[],"gateways_heard_at":null}}`))
}

// What etcd has lost is put back once somebody asks for it.
func TestFleet_reconcile(t *testing.T) {
	lost := &apikey.Lost{Records: 163, Left: 150, Waiting: true}
	a := inFleet(t, apikey.FleetStatus{Prefix: "/api-keys/", Mode: apikey.ModeStrict, Problem: "etcd has another history", Lost: lost})
	for _, c := range []struct {
		method, path string
		waiting      bool
	}{{"GET", "/fleet", true}, {"POST", "/fleet/reconcile", false}, {"GET", "/fleet", false}} {
		got := a.must(t, http.StatusOK, c.method, c.path, "").body["fleet"].(map[string]any)["lost"]
		equal(t, c.method+" "+c.path, got, any(map[string]any{"records": 163.0, "left": 150.0, "waiting": c.waiting}))
	}
	newAPI(t).refused(t, http.StatusNotFound, "not_found", "", "POST", "/fleet/reconcile", "")
}

// A gateway that serves without its fleet says since when, and until when.
func TestHealth_outOfContact(t *testing.T) {
	a := inFleet(t, apikey.FleetStatus{Mode: apikey.ModeStatic, Heard: start, Lease: time.Hour, Problem: "no member of etcd answers"})
	got := a.must(t, http.StatusOK, "GET", "/healthz", "").body["fleet"]
	until := time.Now().Add(time.Hour).UTC()
	for _, at := range []time.Time{until, until.Add(-time.Second)} {
		if got == "out of contact since 2026-03-01T12:00:00Z: later changes of other gateways are not known here, and without contact all requests are refused from "+at.Format(time.RFC3339)+" on" {
			return
		}
	}
	t.Errorf("got %q, want it to be out of contact, and to serve until about %v", got, until)
}

// pending is a real store whose changes another gateway has not acknowledged.
type pending struct{ *store.Store }

func (p pending) Apply(ctx context.Context, change apikey.Change) (apikey.Outcome, error) {
	outcome, err := p.Store.Apply(ctx, change)
	outcome.Propagation = apikey.Propagation{Revision: 7, Gateways: 3, Waited: 5 * time.Second, Behind: []string{"eu-2", "eu-3"}}
	return outcome, err
}

// What is not confirmed says which gateways are behind.
func TestPropagation_pending(t *testing.T) {
	var a *api
	a = newAPI(t, func(c *Config) { c.Keys = func() Keys { return pending{a.store} } })
	id, _ := a.create(t, "acme", "Zapier")
	got := a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", "").body["propagation"]
	equal(t, "propagation", got, any(object(t, `{"state":"pending","revision":7,"gateways":3,"waited_ms":5000,"behind":["eu-2","eu-3"]}`)))
}

// rekeyed is a fleet that seals its records again in two steps.
type rekeyed struct{ inState }

func (rekeyed) Rekey(_ context.Context, after string) (apikey.Rekeyed, error) {
	if after == "" {
		return apikey.Rekeyed{Checked: 1000, Sealed: 900, Remaining: 204, Next: "d/k/00/key"}, nil
	}
	if after != "d/k/00/key" {
		return apikey.Rekeyed{}, errors.New("not where the first step has ended")
	}
	return apikey.Rekeyed{Checked: 204}, nil
}

// unlike is a fleet whose gateways have different integrity keys.
type unlike struct{ inState }

func (unlike) Rekey(context.Context, string) (apikey.Rekeyed, error) {
	return apikey.Rekeyed{}, apikey.IntegrityKeyDiffers([]string{"eu-2 (B)"})
}

// Records are sealed again step by step.
func TestFleet_rekey(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Fleet = func() Fleet { return rekeyed{} } })
	first := a.must(t, http.StatusOK, "POST", "/fleet/rekey", "").body["rekey"].(map[string]any)
	next := first["next_cursor"].(string)
	delete(first, "next_cursor")
	equal(t, "first step", any(first), any(object(t, `{"checked":1000,"sealed":900,"remaining":204}`)))
	last := a.must(t, http.StatusOK, "POST", "/fleet/rekey?cursor="+next, "").body
	equal(t, "last step", last, object(t, `{"rekey":{"checked":204,"sealed":0,"remaining":0,"next_cursor":null}}`))
	other := newAPI(t, func(c *Config) { c.Fleet = func() Fleet { return unlike{} } })
	other.refused(t, http.StatusConflict, "integrity_key_differs", "", "POST", "/fleet/rekey", "")
	a.refused(t, http.StatusBadRequest, "invalid_cursor", "cursor", "POST", "/fleet/rekey?cursor=x", "")

	failing := inFleet(t, apikey.FleetStatus{})
	failing.refused(t, http.StatusServiceUnavailable, "store_unavailable", "", "POST", "/fleet/rekey", "")
	newAPI(t).refused(t, http.StatusNotFound, "not_found", "", "POST", "/fleet/rekey", "")
}
