package identity

import "time"

// ParseKeys is for tests of sets of keys.
var ParseKeys = parseKeys

// MaxToken and MaxSet bound what is read.
const (
	MaxToken = maxToken
	MaxSet   = maxSet
)

// What the key cache goes by.
const (
	FetchInterval = fetchInterval
	DefaultMaxAge = defaultMaxAge
	LongestMaxAge = longestMaxAge
	GraceTime     = graceTime
	LogInterval   = logInterval
)

// SetClock makes a verifier go by another clock. It is to be called before the first use.
func (v *Verifier) SetClock(now func() time.Time) { v.now, v.keys.now, v.refused.now = now, now, now }

// Settled waits until no fetch is in flight.
func (v *Verifier) Settled() {
	v.keys.mu.Lock()
	latest := v.keys.fetch
	v.keys.mu.Unlock()
	if latest != nil {
		<-latest.done
	}
}

// Issuer returns the issuer that assertions must have.
func (v *Verifier) Issuer() string { return v.issuer }

// MaxAge is how long a response with a header is fresh.
var MaxAge = maxAge
