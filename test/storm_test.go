package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestReload_storm loads configurations as fast as they are taken, good ones and
// bad ones in turn, while requests come in and keys are made and revoked. Each
// request gets the right answer, each change holds from its answer on, and no
// counter is set back.
func TestReload_storm(t *testing.T) {
	t.Parallel()
	const rounds = 40
	s := startRaced(t, gatewayConfig)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	load := startLoad(t, s, full, readOnly)
	over := make(chan struct{})
	t.Cleanup(func() { <-over })
	go func() {
		defer close(over)
		for i := range rounds {
			good := withOptions(fmt.Sprintf("realm round-%d", i))
			if accepted, said := s.offer(good); !accepted {
				t.Errorf("got a good configuration refused: %s", said)
			}
			bad := refusedConfigs[i%len(refusedConfigs)]
			if accepted, said := s.offer(bad.change(good)); accepted {
				t.Errorf("got a configuration accepted that is to be refused %s: %s", bad.name, said)
			}
		}
	}()

	made, counters := 2, make(map[string]float64)
	for busy := true; busy; {
		key, token := s.createAfterReload(fmt.Sprintf("Made in the storm %d", made))
		made++
		load.all(t, token, http.StatusOK)
		s.revokeAfterReload(key)
		load.all(t, token, http.StatusUnauthorized)
		s.wantNoneSetBack(t, counters)
		select {
		case <-over:
			busy = false
		default:
		}
	}
	load.stop()
	s.wantNoneSetBack(t, counters)
	for operation, want := range map[string]int{"create": made, "revoke": made - 2} {
		series := fmt.Sprintf(`caddy_api_keys_admin_operations_total{operation="%s",outcome="ok"}`, operation)
		if got := int(counters[series]); got != want {
			t.Errorf("got %d counted, want %d: %s", got, want, series)
		}
	}
	s.Stop()
	load.wantAnswered(t, s)
	t.Logf("%d requests got the right answer and %d keys were made during %d loads; %d were never read",
		load.right.Load(), made, 2*rounds, len(load.unanswered))
}

// wantNoneSetBack checks that every counter of keys is where it was, or further.
func (s *server) wantNoneSetBack(t *testing.T, before map[string]float64) {
	t.Helper()
	now := s.metrics()
	for series, was := range before {
		if got, there := now[series]; !there || got < was {
			t.Errorf("got %v (there: %v) after %v: %s", got, there, was, series)
		}
	}
	for series, value := range now {
		name, _, _ := strings.Cut(series, "{")
		if strings.HasPrefix(name, "caddy_api_keys_") && (strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_count")) {
			before[series] = value
		}
	}
}

// refusedConfigs break a configuration at each step of loading it.
var refusedConfigs = []struct {
	name   string
	change func(config string) string
}{
	{"while it is read", func(config string) string { return config + "{" }},
	{"by a rule of api_keys", func(config string) string {
		return strings.Replace(config, "api_keys {", "api_keys {\n\t\ttoken_prefix NO", 1)
	}},
	{"while provisioning", func(config string) string {
		return config + "http://:1 {\n\treverse_proxy localhost {\n\t\ttransport http {\n\t\t\ttls_trust_pool file /nowhere\n\t\t}\n\t}\n}\n"
	}},
	{"by the store, which is a file", func(config string) string {
		return strings.ReplaceAll(config, "{{.Store}}", "/dev/null")
	}},
	{"while starting", func(config string) string { return config + "http://:1 {\n\tbind 203.0.113.1\n}\n" }},
}
