package test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// In a fleet, one gateway sends the messages about what all of them change. Once it is
// killed, another one sends the rest, in the order of the changes.
func TestWebhooks_fleet(t *testing.T) {
	t.Parallel()
	r := newHookReceiver(t)
	r.say(func(_ hookMessage, w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
	cluster := etcdtest.Start(t, 1)
	config := strings.Replace(fleetConfig(cluster.Endpoints()), "api_keys {", "api_keys {\n\t\t"+r.option("expiring 1h"), 1)
	var fleet []*server
	for range 2 { // the first one sends
		s := newServer(t)
		s.Env = []string{"HOOK_SECRET=" + r.secret}
		s.Run(config)
		s.AwaitReady()
		fleet = append(fleet, s)
	}
	created, err := fleet[1].Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Zapier production", Preset: client.ReadOnly, ExpiresIn: new("30m")})
	must(t, err)
	fleet[0].Await("the first try", func() bool { return len(r.tries()) > 0 })
	_, err = fleet[0].Keys().RotateKey(t.Context(), "acme", created.Key.ID, client.RotateRequest{})
	must(t, err)
	_, err = fleet[1].Keys().RevokeKey(t.Context(), "acme", created.Key.ID, "replaced")
	must(t, err)
	fleet[0].wantPending(4)
	fleet[1].wantPending(0)

	must(t, fleet[0].Cmd.Process.Kill())
	<-fleet[0].Exited
	r.say(func(_ hookMessage, w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) })
	var types []string
	for _, m := range r.await(4) {
		types = append(types, m.Type)
	}
	if want := []string{"key.created", "key.expiring", "key.rotated", "key.revoked"}; !slices.Equal(types, want) {
		t.Errorf("got %q, want %q", types, want)
	}
	fleet[1].wantPending(0)
}
