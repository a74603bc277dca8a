package test

import (
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// In a fleet, one gateway sends the messages of all, and another one when it is gone.
func TestWebhooks_fleet(t *testing.T) {
	t.Parallel()
	r := newHookReceiver(t)
	endpoints := etcdtest.Start(t, 1).Endpoints()
	var gateways []*server
	for _, name := range []string{"eu-1", "eu-2"} {
		config := strings.Replace(fleetConfig(endpoints, "name "+name), "api_keys {", "api_keys {\n\t\t"+r.option(), 1)
		gateways = append(gateways, startRaced(t, config, "HOOK_SECRET="+r.secret))
	}
	for i, s := range gateways {
		s.Create("acme", []string{"Zapier production", "Warehouse sync"}[i], "read_only")
	}
	r.await(2)
	gateways[0].Await("the deliveries to be counted", func() bool {
		return gateways[0].deliveries("ok")+gateways[1].deliveries("ok") == 2
	})
	leads := slices.IndexFunc(gateways, func(s *server) bool { return s.deliveries("ok") == 2 })
	if leads < 0 {
		t.Fatal("got one message delivered by each gateway, want one gateway to send all")
	}
	gateways[leads].kill(t)
	key, _ := gateways[1-leads].Create("acme", "Export job", "read_only")
	if got := r.await(3); len(ofKey(got, key.ID)) != 1 {
		t.Errorf("got %v, want the message about %s from the other gateway", got, key.ID)
	}
}
