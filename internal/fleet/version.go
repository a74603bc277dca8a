package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The oldest patch of each minor version of etcd 3 with which a fleet is safe. Earlier
// ones have faults in watches and in authentication that a gateway cannot make up for.
var oldestPatch = map[int]int{5: 33, 6: 14, 7: 1}

// newestMinor is the newest of them: later ones are trusted.
const newestMinor = 7

// mostPatient is after how many calls in vain checkMembers gives members no more time than
// before: four times as much as at first.
const mostPatient = 2

// awaitMembers is checkMembers for a command, which has nobody to call it again: as long as
// no member answers, it does so until they have had all the time they get.
func (e *etcd) awaitMembers(ctx context.Context) error {
	for {
		before := e.silent.Load()
		err := e.checkMembers(ctx)
		if now := e.silent.Load(); now <= before || now > mostPatient || ctx.Err() != nil {
			return err
		}
	}
}

// checkMembers refuses members of etcd that are too old, or not of one cluster. Members that do
// not answer are checked by a later call, though one that is only slow may be read from before.
// As long as none does, they get more time with each call, and once one has, the others get no
// more than usual.
func (e *etcd) checkMembers(ctx context.Context) error {
	errs := make([]error, len(e.client.Endpoints()))
	answered := make([]bool, len(errs))
	clusters := make([]uint64, len(errs))
	asking, cancel := context.WithTimeout(ctx, attemptTimeout<<min(e.silent.Load(), mostPatient))
	defer cancel()
	var all sync.WaitGroup
	for i, endpoint := range e.client.Endpoints() {
		all.Go(func() {
			status, err := e.client.Status(asking, endpoint)
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", endpoint, explain(err))
				return
			}
			time.AfterFunc(attemptTimeout, cancel)
			answered[i], clusters[i] = true, status.Header.ClusterId
			if why := tooOld(status.Version); why != "" {
				errs[i] = fmt.Errorf("the member %s runs etcd %s: %s", endpoint, status.Version, why)
			}
		})
	}
	all.Wait()
	for i, err := range errs {
		if answered[i] && err != nil {
			return err
		}
	}
	if first := slices.Index(answered, true); first >= 0 {
		e.silent.Store(0)
		for i := range errs {
			if answered[i] && clusters[i] != clusters[first] {
				return fmt.Errorf("the endpoints %s and %s lead to different clusters of etcd", e.client.Endpoints()[first], e.client.Endpoints()[i])
			}
		}
		return nil
	}
	for _, err := range errs {
		if !isTransient(err) { // it has answered, and refused
			return err
		}
	}
	e.silent.Add(1)
	return fmt.Errorf("no member of etcd answers: %w", errors.Join(errs...))
}

// tooOld returns why a version of etcd cannot be used, "" if it can.
func tooOld(version string) string {
	numbers := strings.SplitN(version, ".", 3)
	const needed = "a fleet needs 3.5.33, 3.6.14, 3.7.1 or newer, because watches and authentication have faults in older versions"
	if len(numbers) != 3 || numbers[0] != "3" {
		return needed
	}
	minor, err := strconv.Atoi(numbers[1])
	if err != nil {
		return needed
	}
	if minor > newestMinor {
		return ""
	}
	digits, pre, _ := strings.Cut(numbers[2], "-")
	patch, err := strconv.Atoi(digits)
	oldest, supported := oldestPatch[minor]
	if err != nil || !supported || patch < oldest || patch == oldest && pre != "" {
		return needed
	}
	return ""
}
