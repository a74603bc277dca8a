package fleet

import (
	"math"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// What changes take away that a gateway has heard of, and cannot apply, it refuses until its
// replica has them. That it has all that etcd has is not enough: if etcd was restored from a
// snapshot in the meantime, it may have lost those changes. They are known by the events of
// the audit trail that were made with them: a replica that has an event has what was changed
// until then, and so has one that has only later events, because the fleet forgot the earlier.

// unapplied are changes that could not be applied.
type unapplied struct {
	events []string // the latest by then, of each history that was heard of
	lost   bool     // it was said that etcd has lost some of them
}

// add notes the latest events of changes that follow each other.
func (u *unapplied) add(latest ...string) {
	if len(latest) == 0 {
		return
	}
	u.events = slices.DeleteFunc(u.events, func(id string) bool { return slices.Contains(latest, id) })
	u.events = append(u.events, latest[len(latest)-1])
}

// refuse has what the rest of an answer of the watch ends refused, after what came before it
// in that answer could not be applied.
func (f *Fleet) refuse(e *etcd, answer, rest []*clientv3.Event) {
	var records []apikey.Record
	for _, c := range e.changesIn(rest) {
		records = append(records, c.records...)
	}
	f.replica.Refuse(records)
	var latest []string
	for _, c := range e.changesIn(answer) {
		latest = append(latest, c.LastEvent)
	}
	f.unapplied.add(latest...)
}

// refuseRest has refused what the answers after one end, too, up to the change that etcd had
// when the session began. One answer has no more than a thousand changes, and the next session
// begins with the same: after longestUnread at the latest.
func (f *Fleet) refuseRest(e *etcd, events []*clientv3.Event, answers clientv3.WatchChan) {
	f.applying.Store(true) // so that the watch is not taken for stalled
	defer f.applying.Store(false)
	heard, until := uint64(0), time.Now().Add(longestUnread)
	for left := longestUnread; left > 0; left = time.Until(until) {
		for _, c := range e.changesIn(events) {
			heard = c.Seq
		}
		if heard >= f.settleAt || f.settleAt == settled {
			return
		}
		select {
		case answer := <-answers:
			if events = answer.Events; len(events) == 0 { // it has ended
				return
			}
			f.refuse(e, events, events)
		case <-time.After(min(watchPatience, left)):
			return
		}
	}
}

// changesIn returns all changes that can be read.
func (e *etcd) changesIn(events []*clientv3.Event) (all []change) {
	for len(events) > 0 {
		var same []*clientv3.Event
		same, events = cutRevision(events)
		if c, err := e.openChange(same); err == nil {
			all = append(all, c)
		}
	}
	return all
}

// settle ends the refusal of what could not be applied, if that is no longer missing: the
// replica has all that etcd had when the session began.
func (f *Fleet) settle() {
	f.settleAt = settled
	lacks, err := f.replica.Settle(f.unapplied.events, f.unapplied.lost)
	switch {
	case err != nil:
		f.log.Error("could not find out what need not be refused any more", zap.Error(err))
	case len(lacks) == 0:
		f.unapplied = unapplied{}
		return
	case !f.unapplied.lost:
		f.unapplied = unapplied{events: lacks, lost: true}
		f.log.Error("etcd has lost changes that this gateway has heard of and could not apply: it refuses what they took away until they are back, or until it is restarted", zap.Strings("events", lacks))
	}
	f.settleAt = 0 // try again after the next change
}

// settled is the change at which nothing is to be settled: there is none.
const settled = math.MaxUint64
