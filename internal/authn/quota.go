package authn

import (
	"time"

	"github.com/agiled/caddy-api-keys/internal/ratelimit"
)

// Quota is a limit that applies to a request, and how much of it is used.
type Quota struct {
	Limit ratelimit.Limit // with N = 0, there is none
	Usage ratelimit.Verdict
}

func (q *Quota) allows() bool { return q.Limit.N == 0 || q.Usage.Allowed }

// RetryAfter returns how long the client of a refused request has to wait until both of its
// limits would let one pass.
func (d *Decision) RetryAfter() time.Duration {
	return max(d.KeyQuota.Usage.RetryAfter, d.WorkspaceQuota.Usage.RetryAfter)
}

// The actions by which the limiter counts: reads and writes of a key each for themselves,
// those of a workspace's keys all together.
const (
	reads uint8 = iota
	writes
	ofWorkspace
)

func bucket(action Action) uint8 {
	if action == Read {
		return reads
	}
	return writes
}

// count judges a request by the limits of its key and its workspace, except for those that
// an earlier check has counted it against. It counts in both or in neither.
func (a *Authenticator) count(d *Decision, policy *Policy, facts *Facts, key *entry) (allowed bool) {
	gateways := a.gateways.Load()
	if limit := policy.limit(d.Action).of(gateways); !facts.Before.counted(d.Action, limit) {
		d.KeyQuota.Limit = limit
	}
	if limit := policy.WorkspaceLimit.of(gateways); !facts.Before.countedForWorkspace(limit) {
		d.WorkspaceQuota.Limit = limit
	}
	action := bucket(d.Action)
	own := ratelimit.Count{Subject: key.ID(), Action: action, Limit: d.KeyQuota.Limit, Hint: &key.buckets}
	all := ratelimit.Count{Subject: key.WorkspaceID(), Action: ofWorkspace, Limit: d.WorkspaceQuota.Limit, Hint: &key.buckets}
	switch {
	case own.Limit.N > 0 && all.Limit.N > 0:
		d.KeyQuota.Usage, d.WorkspaceQuota.Usage = a.limiter.AllowBoth(own, all, d.At)
	case own.Limit.N > 0:
		d.KeyQuota.Usage = a.limiter.Allow(own, d.At)
	case all.Limit.N > 0:
		d.WorkspaceQuota.Usage = a.limiter.Allow(all, d.At)
	}
	return d.KeyQuota.allows() && d.WorkspaceQuota.allows()
}
