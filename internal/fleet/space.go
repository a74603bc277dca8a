package fleet

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// spaceInterval is how often the members of etcd are asked how full they are. The tenth of
// the quota that is kept free is far more than what can be written in that time.
const spaceInterval = 5 * time.Second

// watchSpace keeps track of how full etcd is, until ctx is done.
func (f *Fleet) watchSpace(ctx context.Context) {
	for ctx.Err() == nil {
		if space, known := f.connection().space(ctx); known {
			f.space.Store(&space)
		}
		_ = pause(ctx, spaceInterval)
	}
}

// Full reports whether etcd has almost reached its quota. Once it has, it refuses all
// changes, so what is left is for those that take access away, or free space.
func (f *Fleet) Full() bool {
	space := f.space.Load()
	return space != nil && space.Full()
}

// errNoRoom is why an import cannot continue.
var errNoRoom = errors.New("etcd has almost reached its quota: raise --quota-backend-bytes on every member, then run this again")

// checkRoom fails if etcd has almost reached its quota.
func (e *etcd) checkRoom(ctx context.Context) error {
	if space, known := e.space(ctx); known && space.Full() {
		return errNoRoom
	}
	return nil
}

// space returns how full the fullest member of etcd is. That is unknown while none answers,
// and for versions before 3.6, which do not say what their quota is.
func (e *etcd) space(ctx context.Context) (fullest apikey.FleetSpace, known bool) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, endpoint := range e.client.Endpoints() {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, attemptTimeout<<mostPatient)
			defer cancel()
			status, err := e.client.Status(ctx, endpoint)
			if err != nil || status.DbSizeQuota <= 0 {
				return
			}
			space := spaceIn(status)
			mu.Lock()
			defer mu.Unlock()
			if !known || space.Used*fullest.Quota > fullest.Used*space.Quota {
				fullest, known = space, true
			}
		})
	}
	all.Wait()
	return fullest, known
}

// spaceIn returns how full a member is. Half of what is free within its file counts as
// used: it is used again, but in part only for what is small. Once the file has reached
// the quota, the member refuses to write until an operator has seen to it.
func spaceIn(status *clientv3.StatusResponse) apikey.FleetSpace {
	space := apikey.FleetSpace{Used: (status.DbSize + status.DbSizeInUse) / 2, Quota: status.DbSizeQuota}
	refuses := func(alarm string) bool { return strings.Contains(alarm, "NOSPACE") }
	if status.DbSize >= status.DbSizeQuota || slices.ContainsFunc(status.Errors, refuses) {
		space.Used = space.Quota
	}
	return space
}
