package metrics

import (
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// inFleet is a gateway of a fleet, or of none.
type inFleet struct{ status *apikey.FleetStatus }

func (f inFleet) Fleet() (apikey.FleetStatus, bool) {
	if f.status == nil {
		return apikey.FleetStatus{}, false
	}
	return *f.status, true
}

// samples returns the samples of a collector, by name and value of the label: those of a
// histogram are how often it was observed.
func samples(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			all[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func TestFleet(t *testing.T) {
	ahead, behind, far := time.Second, -90*time.Second, time.Hour
	c := newFleetCollector(inFleet{&apikey.FleetStatus{
		Committed: 7, Applied: 6, Lease: 11500 * time.Millisecond, Space: apikey.FleetSpace{Used: 3, Quota: 4},
		Gateways: []apikey.GatewayStatus{
			{State: apikey.GatewayServing, Ahead: &ahead}, {State: apikey.GatewayServing, Ahead: &behind},
			{State: apikey.GatewayServing}, {State: apikey.GatewayLoading, Ahead: &far}, {State: apikey.GatewayFenced},
		},
	}})
	for _, p := range []apikey.Propagation{
		{}, {Confirmed: true}, {Confirmed: true, Waited: time.Second}, {Waited: time.Second}, {Waited: time.Minute},
	} {
		(&Metrics{fleet: c}).CountRevoke(p)
	}
	got, want := samples(t, c), map[string]float64{
		"caddy_api_keys_fleet_gateways": 3, "caddy_api_keys_fleet_revision applied": 6, "caddy_api_keys_fleet_revision committed": 7,
		"caddy_api_keys_fleet_lease_remaining_seconds": 11.5, "caddy_api_keys_fleet_clock_skew_seconds": -90, "caddy_api_keys_fleet_revoke_seconds": 1,
		"caddy_api_keys_fleet_revoke_pending_total": 2,
		"caddy_api_keys_fleet_etcd_bytes used":      3, "caddy_api_keys_fleet_etcd_bytes quota": 4,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A gateway with a store of its own has none of these metrics.
func TestFleet_ownStore(t *testing.T) {
	if got := samples(t, newFleetCollector(inFleet{})); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
}
