package authn

// Lease says whether this gateway may judge requests. In a fleet, one that has not heard
// for a while what was revoked may not.
type Lease interface {
	// Live reports whether requests may be judged at this instant. It reads a clock for
	// each call, is safe for concurrent use, and never blocks: it is called for every
	// request.
	Live() bool
}

// Require makes every check return Unavailable, and ends streams, while the lease is not
// live. Call it before the first check, or not at all if no other gateway changes keys.
func (a *Authenticator) Require(lease Lease) { a.lease = lease }

// Share divides the limits that are for a whole fleet by a number of gateways, at least 1.
// Until the first call, it is 1. A key's count for a limit starts over whenever that
// changes what this gateway allows.
func (a *Authenticator) Share(gateways int) { a.gateways.Store(int64(gateways)) }

// mayJudge reports whether requests may be judged at this instant. Ask it before the key
// is looked up. Asked afterwards, it lets a revoked key pass: a gateway that is cut off
// looks it up, is not scheduled for a while, hears what was revoked, is live again, and
// continues with the key as it was.
func (a *Authenticator) mayJudge() bool {
	return !a.closed.Load() && (a.lease == nil || a.lease.Live())
}
