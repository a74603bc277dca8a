package metrics

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// stopped is a gateway that is not running.
type stopped struct{}

func (stopped) Inventory(context.Context) (Inventory, error) { return Inventory{}, ErrNotRunning }

func (stopped) ChangesAvailable() (available, ok bool) { return false, false }

func (stopped) Fleet() (none apikey.FleetStatus, belongs bool) { return none, false }

func (stopped) Webhooks() (pending int, age time.Duration, ok bool) { return 0, 0, false }

func newMetrics() *Metrics { return New(Config{Running: stopped{}, Log: zap.NewNop()}) }

// TestMetrics_nativeHistogram: the native histogram distinguishes durations that
// differ by a tenth.
func TestMetrics_nativeHistogram(t *testing.T) {
	m := newMetrics()
	m.CountRequest(&authn.Decision{Result: authn.Missing, Action: authn.Read}, time.Microsecond)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m.requests.duration)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	histogram := families[0].GetMetric()[0].GetHistogram()
	if got := histogram.GetSchema(); got != 3 || len(histogram.GetPositiveSpan()) == 0 {
		t.Errorf("got a native histogram of schema %d with %d spans, want schema 3, in steps of a tenth", got, len(histogram.GetPositiveSpan()))
	}
}

// TestMetrics_registeredTwice: every configuration registers the same collectors.
func TestMetrics_registeredTwice(t *testing.T) {
	m, registry := newMetrics(), prometheus.NewPedanticRegistry()
	for range 2 {
		if err := m.Register(registry); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkCountRequest measures what counting and timing a request costs: the two
// readings of the clock are those around the check.
func BenchmarkCountRequest(b *testing.B) {
	d := &authn.Decision{
		Result: authn.Allowed, Action: authn.Read, Lookup: authn.Hit,
		Key: &apikey.Grant{MayWrite: true},
	}
	m, start := newMetrics(), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		begun := time.Since(start)
		m.CountRequest(d, time.Since(start)-begun)
	}
}
