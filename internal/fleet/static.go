package fleet

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A gateway in static mode keeps serving after a restart without etcd. Its registration
// must be in etcd for as long as it may: that is why what is taken away is pending until
// this gateway has applied it. So the replica knows the registrations under which it may be
// served: each is noted before it says that it serves, and removed once there is a lease
// under another one, or once the replica has noted that it may not be served any more. In
// strict mode they are noted too, so that a gateway that was killed and is started again is
// not taken for two.
//
// A copy of a replica has the same notes, and must do none of that. It is recognised by its
// holder, if it is in another place or has another name.

// resume takes up what this gateway has noted in its replica before it was stopped. In
// static mode, it serves immediately if it was in contact with the fleet not long ago.
func (f *Fleet) resume(o *Options) error {
	at, complete, err := f.replica.Position()
	if err != nil {
		return err
	}
	f.progress.at = at // nobody else knows f yet
	noted, confirmed, err := f.replica.Contact()
	switch {
	case err != nil:
		return err
	case len(noted.Registrations) == 0:
		return nil
	case noted.Holder != f.holder(o) && !o.Static && noted.At.IsZero():
		return nil // the next revocation removes what a gateway in strict mode has left
	case noted.Holder != f.holder(o):
		f.log.Warn("this replica was moved or copied, or the gateway has another name: it serves once it reaches etcd, and a former registration may have to be removed",
			zap.String("was", noted.Holder), zap.String("is", f.holder(o)), zap.Strings("registrations", noted.Registrations))
		return nil
	}
	f.noted, f.former, f.inherited = noted, slices.Clone(noted.Registrations), make(inherited)
	for _, id := range f.former {
		f.inherited[id] = time.Time{}
	}
	if !o.Static || !complete || noted.At.IsZero() {
		return nil
	}
	now := f.lease.clock()
	since, known := elapsed(noted.At, confirmed, now.wall)
	if !known {
		f.log.Error("this machine's clock is behind, so it is not known how long ago this gateway was in contact with its fleet: it serves once it reaches etcd",
			zap.Time("contact", noted.At), zap.Time("confirmed", confirmed), zap.Time("clock", now.wall))
		return nil
	}
	f.lease.extend(now.add(-since), Static)
	return nil
}

// elapsed returns how long ago a contact was, by a machine's clock or by the time that has
// certainly passed, whichever is later. It is not known if the clock was set back: nobody
// can tell how long the machine was off.
func elapsed(contact, confirmed, now time.Time) (since time.Duration, known bool) {
	latest := contact
	if confirmed.After(latest) {
		latest = confirmed
	}
	if now.Before(latest.Add(-apikey.ClockTolerance)) {
		return 0, false
	}
	return max(latest.Sub(contact), now.Sub(contact)), true
}

// holder says which gateway this is, and where its replica is.
func (f *Fleet) holder(o *Options) string { return o.Name + " at " + f.replica.Path() }

// noteRegistration notes a registration before it says that it serves.
func (f *Fleet) noteRegistration(ctx context.Context, id string) error {
	return f.note(ctx, f.noted.At, append(slices.Clone(f.former), id))
}

// contactInterval is how often the replica records that it is up to date.
const contactInterval = time.Minute

// noteContact notes, from time to time, that the replica was up to date under a
// registration. In strict mode, what an earlier static mode has noted is forgotten.
// Only then may former registrations be removed.
func (f *Fleet) noteContact(ctx context.Context, at time.Time, id string) error {
	if !f.options.Load().Static {
		return f.note(ctx, time.Time{}, append(slices.Clone(f.former), id))
	}
	if since := at.Sub(f.noted.At); since >= 0 && since < contactInterval {
		return nil
	}
	return f.note(ctx, at, append(slices.Clone(f.former), id))
}

// leaveFleet removes the registrations of a gateway in static mode that is being stopped.
// From then on, nobody waits for it, so it may not serve again before it has been in
// contact. Without etcd, it leaves everything as it is.
func (f *Fleet) leaveFleet(e *etcd) {
	f.lease.end()
	ctx, cancel := context.WithTimeout(context.Background(), 2*attemptTimeout)
	defer cancel()
	if _, _, err := e.readHead(ctx); err != nil {
		return
	}
	err := f.forgetContact(ctx)
	if err == nil {
		f.removeFormer(e)
		err = f.forgetContact(ctx)
	}
	if err != nil {
		f.log.Warn("could not leave the fleet: what is taken away is pending until this gateway is started again, or its registration removed", zap.Error(err))
	}
}

// forgetContact notes that the replica may not be served without etcd, and which
// registrations are left.
func (f *Fleet) forgetContact(ctx context.Context) error {
	return f.note(ctx, time.Time{}, slices.Clone(f.former))
}

// note records what this gateway has to know after a restart, unless it is recorded.
func (f *Fleet) note(ctx context.Context, contact time.Time, registrations []string) error {
	c := apikey.Contact{At: contact, Registrations: registrations}
	if len(registrations) > 0 {
		c.Holder = f.holder(f.options.Load())
	}
	if c.At.Equal(f.noted.At) && c.Holder == f.noted.Holder && slices.Equal(c.Registrations, f.noted.Registrations) {
		return nil
	}
	err := f.replica.NoteContact(ctx, c)
	if err == nil {
		f.noted = c
	}
	return err
}
