package fleet

import (
	"cmp"
	"crypto/tls"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Options configure a gateway of a fleet.
type Options struct {
	// Endpoints are the addresses of etcd's members, as URLs.
	Endpoints []string
	// Username and Password authenticate the gateway to etcd. They may be empty.
	Username, Password string
	// TLS is used for endpoints with https. It may be nil.
	TLS *tls.Config
	// Prefix is where the fleet keeps its data in etcd. It ends with a slash.
	Prefix string
	// IntegrityKeys seal what is in etcd. The first is used for writing, all of them for
	// reading.
	IntegrityKeys []IntegrityKey
	// Static makes the gateway keep serving without etcd: see [Static].
	Static bool
	// MaxStaleness is how long the gateway may serve without hearing from etcd, at least
	// [MinStaleness].
	MaxStaleness time.Duration
	// Name is what people call this gateway. It need not be unique.
	Name string
	// Version is that of the program.
	Version string
	// Serving is told how many gateways serve, at least 1, whenever that may have changed.
	// It must not block, and may be nil. It is that of [Open] also after [Fleet.Adopt].
	Serving func(gateways int)
	Log     *zap.Logger

	clock       func() instant // by which leases end; in tests, it need not be this machine's
	renewal     time.Duration  // see renewEvery; 0 means the default
	useInterval time.Duration  // see shareUses; likewise
	usagePause  time.Duration  // see tellUsage; likewise
	usageShare  int            // see usageShare; likewise
}

// MinStaleness is the minimum of Options.MaxStaleness.
const MinStaleness = 3 * time.Second

// Static is how long a gateway in static mode serves without etcd. In that time, it may
// allow what has been taken away elsewhere: changes that it has not acknowledged are
// reported as pending.
const Static = 24 * time.Hour

// sameFleet reports whether a running gateway can adopt other options.
func (o *Options) sameFleet(other *Options) bool { return o.Prefix == other.Prefix }

// lease returns how long one read of etcd lets the gateway serve.
func (o *Options) lease() time.Duration {
	if o.Static {
		return Static
	}
	return o.MaxStaleness
}

// renewEvery returns how often the gateway asks etcd whether it may keep serving.
func (o *Options) renewEvery() time.Duration { return cmp.Or(o.renewal, o.MaxStaleness/4) }

func (o *Options) keys() keyring { return o.IntegrityKeys }

// Mode is what a gateway does without etcd, in the form that people see.
func (o *Options) mode() string {
	if o.Static {
		return apikey.ModeStatic
	}
	return apikey.ModeStrict
}
