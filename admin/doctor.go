package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/doctor"
	"github.com/agiled/caddy-api-keys/internal/present"
)

// findingsAnswer is the result of a check of the store.
type findingsAnswer struct {
	Findings []client.Finding `json:"findings"`
}

// checkStore checks the whole store, which may take longer than the server's
// timeouts allow.
func (h *Handler) checkStore(r *http.Request) (int, any, error) {
	found, err := h.keys().Check(r.Context(), h.Clock().Machine)
	if err != nil {
		return 0, nil, err
	}
	if fleet := h.fleet(); fleet != nil {
		found = withFleet(found, fleet.Known())
	}
	return http.StatusOK, findingsAnswer{present.Findings(found)}, nil
}

// withFleet adds what is wrong with the gateway's fleet to findings about its store. That
// changes can be made is left out then: they are made in the fleet.
func withFleet(found []doctor.Finding, s apikey.FleetStatus) []doctor.Finding {
	about := checkFleet(s)
	if about.Severity == doctor.Fault {
		found = slices.DeleteFunc(found, func(f doctor.Finding) bool { return f.Check == "changes" && f.Severity == doctor.Fine })
	}
	return append(found, about)
}

// checkFleet says whether the gateway serves in its fleet, and whether changes can be made.
func checkFleet(s apikey.FleetStatus) doctor.Finding {
	f := doctor.Finding{Check: "fleet", Severity: doctor.Fault, Advice: "Look the cause up in docs/fleet.md, under When something fails."}
	const space = "Make space in etcd: docs/fleet.md says how."
	switch {
	case s.Lease <= 0:
		f.Message = fmt.Sprintf("This gateway refuses all requests, because it has no lease of its fleet: %s.", s.Problem)
	case s.Problem != "":
		f.Message = fmt.Sprintf("No changes are made: this gateway has been out of contact with its fleet since %s, and refuses all requests in %s: %s.",
			s.Heard.UTC().Format(time.RFC3339), s.Lease.Round(time.Second), s.Problem)
	case s.Space.UsedUp():
		f.Message, f.Advice = "No changes are made, not even revocations: the fleet's etcd has reached its quota.", space
	case s.Space.Full():
		f.Message, f.Advice = "The fleet's etcd is full: keys can be revoked and workspaces suspended, but every other change is refused.", space
	default:
		return checkGateways(s)
	}
	return f
}

// checkGateways says whether revocations can be confirmed, as far as that is known without
// making one.
func checkGateways(s apikey.FleetStatus) doctor.Finding {
	var unreadable []string
	for _, g := range s.Gateways {
		if g.State == apikey.GatewayUnreadable {
			unreadable = append(unreadable, s.Prefix+"gw/"+g.ID)
		}
	}
	if len(unreadable) == 0 {
		return doctor.Finding{Check: "fleet", Severity: doctor.Fine, Message: takesPart(s)}
	}
	return doctor.Finding{
		Check: "fleet", Severity: doctor.Warning,
		Message: fmt.Sprintf("Revocations and suspensions stay pending, because this gateway cannot read what is registered in etcd as %s.", strings.Join(unreadable, " and ")),
		Advice:  "If a gateway with another integrity_key is running, correct that. Once you are sure that the process is gone, delete what it has left with etcdctl del: docs/fleet.md says how, under Remove what a gateway has left.",
	}
}

// takesPart says that all is well.
func takesPart(s apikey.FleetStatus) string {
	serving := 0
	for _, g := range s.Gateways {
		if g.State == apikey.GatewayServing {
			serving++
		}
	}
	if serving <= 1 { // of its own registration it may not have heard yet
		return "This gateway takes part in its fleet, and is the only one that serves."
	}
	return fmt.Sprintf("This gateway takes part in its fleet, in which %d gateways serve.", serving)
}
