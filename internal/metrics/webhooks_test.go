package metrics

import (
	"maps"
	"testing"
	"time"
)

// waiting are messages of a gateway that runs, unless there are less than none.
type waiting int

func (w waiting) Webhooks() (pending int, age time.Duration, ok bool) {
	return int(w), time.Duration(w) * time.Minute, w >= 0
}

func TestWebhooks(t *testing.T) {
	for _, test := range []struct {
		pending waiting
		want    map[string]float64
	}{
		{-1, map[string]float64{}},
		{0, map[string]float64{"caddy_api_keys_webhook_pending": 0, "caddy_api_keys_webhook_oldest_pending_seconds": 0}},
		{3, map[string]float64{"caddy_api_keys_webhook_pending": 3, "caddy_api_keys_webhook_oldest_pending_seconds": 180}},
	} {
		c := newWebhookCollector(test.pending, []string{"ok", "retry"})
		(&Metrics{webhooks: c}).CountDelivery("ok")
		test.want["caddy_api_keys_webhook_deliveries_total ok"] = 1
		test.want["caddy_api_keys_webhook_deliveries_total retry"] = 0
		if got := samples(t, c); !maps.Equal(got, test.want) {
			t.Errorf("%d: got %v, want %v", test.pending, got, test.want)
		}
	}
}
