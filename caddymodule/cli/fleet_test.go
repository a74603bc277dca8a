package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// A gateway that is out of contact is named, and what it shows of the others is dated.
func TestFleetStatus_outOfContact(t *testing.T) {
	now := time.Date(2026, 11, 20, 9, 17, 0, 0, time.UTC)
	heard := now.Add(-3 * time.Minute)
	fleet := client.Fleet{
		Prefix: "/api-keys/", Gateway: "A", Name: "eu-1", Mode: client.ModeStrict, Committed: 118, Applied: 118, LastEnd: 97,
		Problem: "no member of etcd answers", GatewaysHeardAt: &heard,
		Gateways: []client.FleetGateway{{
			ID: "A", Name: "eu-1", Mode: client.ModeStrict, State: client.GatewayServing, Version: "v1.2.0",
			StartedAt: time.Date(2026, 11, 20, 9, 12, 0, 0, time.UTC), Acknowledged: 97, LeaseMS: 15000,
		}},
	}
	want := `Fleet     /api-keys/
Asked     eu-1, strict
Changes   118 of 118 applied
Serving   no
Problem   no member of etcd answers
Gateways  as of 2026-11-20 09:14:00 UTC (3 min ago)

NAME  STATE    MODE    BEHIND  MAX LEASE  STARTED           VERSION
eu-1  serving  strict  no      15s        2026-11-20 09:12  v1.2.0
`
	var out strings.Builder
	if err := (&terminal{out: &out, now: now}).fleet(fleet); err != nil || out.String() != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out.String(), want)
	}

	out.Reset()
	fleet.Gateway, fleet.Gateways, fleet.GatewaysHeardAt = "", nil, nil
	want = `Fleet    /api-keys/
Asked    eu-1, strict, not registered
Changes  118 of 118 applied
Serving  no
Problem  no member of etcd answers
`
	if err := (&terminal{out: &out, now: now}).fleet(fleet); err != nil || out.String() != want {
		t.Errorf("before it has joined: got %v\n%s\nwant\n%s", err, out.String(), want)
	}
}

// Anyone who revokes a leaked key is told which gateways may not know of it, and what to
// do.
func TestWarnOfPending(t *testing.T) {
	const advice = ", or wait until caddy api-keys fleet status shows that none is behind. If one is gone for good, docs/fleet.md says how to remove what it has left.\n"
	for _, test := range []struct {
		given client.Propagation
		want  string
	}{
		{client.Propagation{State: client.Confirmed}, ""},
		{client.Propagation{State: client.Pending, Behind: []string{"eu-2"}}, "This is not confirmed: eu-2 may not know of it yet, and let requests through. Stop that gateway" + advice},
		{client.Propagation{State: client.Pending, Behind: []string{"eu-2", "eu-3"}}, "This is not confirmed: eu-2, eu-3 may not know of it yet, and let requests through. Stop those gateways" + advice},
		{client.Propagation{State: client.Pending}, "This is not confirmed: some gateways may not know of it yet, and let requests through. Stop those gateways" + advice},
	} {
		var cmd cobra.Command
		var got strings.Builder
		cmd.SetErr(&got)
		if warnOfPending(&cmd, test.given); got.String() != test.want {
			t.Errorf("%+v: got %q, want %q", test.given, got.String(), test.want)
		}
	}
}
