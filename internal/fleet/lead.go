package fleet

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

const (
	// leadTTL is how many seconds after this gateway was last heard of another one leads.
	leadTTL = 10
	// leadRetry is how long this gateway waits after a failure before it stands for
	// election again.
	leadRetry = time.Second
	// maxFailing is how long a gateway may lead without being able to announce anything.
	maxFailing = 15 * time.Second
)

// Lead waits until this gateway may send messages: see [webhook.Outbox]. It is elected with
// a lease of etcd. That is not exact: by the time a gateway notices that it has lost its
// lease, another one may lead. Then a message is sent twice.
func (o *Outbox) Lead(ctx context.Context) (leading context.Context, resign func(), err error) {
	select {
	case <-o.turn:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	for failed := ""; ; {
		leading, resign, err := o.stand(ctx)
		if err == nil {
			return leading, sync.OnceFunc(func() {
				resign()
				o.turn <- struct{}{}
			}), nil
		}
		if ctx.Err() == nil && err.Error() != failed {
			failed = err.Error()
			o.fleet.log.Warn("this gateway cannot take its turn at sending to webhooks; trying again", zap.Error(err))
		}
		if pause(ctx, leadRetry) != nil {
			o.turn <- struct{}{}
			return nil, nil, ctx.Err()
		}
	}
}

// stand waits until this gateway is elected.
func (o *Outbox) stand(ctx context.Context) (_ context.Context, resign func(), err error) {
	if _, err := o.fleet.progress.reach(ctx, point.current); err != nil {
		return nil, nil, err
	}
	e := o.fleet.connection()
	if err := o.removeStrays(ctx, e); err != nil {
		return nil, nil, err
	}
	session, err := e.newSession(ctx)
	if err != nil {
		return nil, nil, err
	}
	leading, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		defer cancel()
		select {
		case <-session.Done():
		case <-leading.Done():
		}
	})
	resign = func() {
		cancel()
		watching.Wait()
		o.backlog.Clear()
		e.endSession(session)
	}
	if err := concurrency.NewElection(session, e.name(senderName)).Campaign(leading, *o.fleet.id.Load()); err != nil {
		resign()
		return nil, nil, explain(err)
	}
	revision, err := o.count(leading, e)
	if err != nil {
		resign()
		return nil, nil, err
	}
	o.failing.begin(cancel)
	o.wake()
	watching.Go(func() {
		defer cancel()
		if err := o.watch(leading, e, revision+1); err != nil && leading.Err() == nil {
			o.fleet.log.Warn("this gateway stops sending to webhooks: it cannot watch the messages", zap.Error(err))
		}
	})
	return leading, resign, nil
}

// removeStrays removes candidates that have no lease, for which the others would wait forever.
// No gateway leaves one behind, but a copy of etcd that was made key by key has no leases.
func (o *Outbox) removeStrays(ctx context.Context, e *etcd) error {
	read, err := e.read(ctx, clientv3.OpGet(e.name(senderName)+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(pageSize)))
	if err != nil {
		return err
	}
	for _, kv := range read.Responses[0].GetResponseRange().Kvs {
		if kv.Lease != 0 {
			continue
		}
		name := string(kv.Key)
		if !isCandidate(strings.TrimPrefix(name, e.prefix)) {
			o.fleet.log.Warn("what another program keeps in etcd keeps the gateways of this fleet from sending to webhooks: move it to a name that does not begin with the fleet's prefix", zap.String("name", name))
			continue
		}
		unchanged := clientv3.Compare(clientv3.ModRevision(name), "=", kv.ModRevision)
		if _, err := e.write(ctx, []clientv3.Cmp{unchanged}, []clientv3.Op{clientv3.OpDelete(name)}, nil); err != nil {
			return err
		}
		o.fleet.log.Warn("removed a candidate without a lease from etcd, which would have kept the gateways of this fleet from sending to webhooks", zap.String("name", name))
	}
	return nil
}

// newSession begins a session, which ends when etcd has not heard from it for leadTTL.
func (e *etcd) newSession(ctx context.Context) (*concurrency.Session, error) {
	var lease *clientv3.LeaseGrantResponse
	err := e.once(ctx, func(attempt context.Context) (err error) {
		lease, err = e.client.Grant(attempt, leadTTL)
		return err
	})
	if err != nil {
		return nil, explain(err)
	}
	session, err := concurrency.NewSession(e.client, concurrency.WithLease(lease.ID))
	return session, explain(err)
}

// endSession ends a session immediately, or, if etcd does not answer, when its lease has run
// out.
func (e *etcd) endSession(session *concurrency.Session) {
	session.Orphan()
	ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
	defer cancel()
	_, _ = e.client.Revoke(ctx, session.Lease())
}

// count counts all messages, and returns the revision of etcd as of which it has.
func (o *Outbox) count(ctx context.Context, e *etcd) (revision int64, err error) {
	o.backlog.Clear()
	return e.eachPage(ctx, messagePrefix, pageSize, 0, func(found []*mvccpb.KeyValue) error {
		for _, kv := range found {
			if m, ok := messageAt(strings.TrimPrefix(string(kv.Key), e.prefix)); ok {
				o.backlog.Add(m)
			}
		}
		return nil
	}, clientv3.WithKeysOnly())
}

// watch keeps the messages counted until it fails.
func (o *Outbox) watch(ctx context.Context, e *etcd, from int64) error {
	for answer := range e.client.Watch(ownStream(ctx, "messages", 0), e.name(messagePrefix), clientv3.WithPrefix(), clientv3.WithRev(from)) {
		if err := answer.Err(); err != nil {
			return explain(err)
		}
		for _, event := range answer.Events {
			m, ok := messageAt(strings.TrimPrefix(string(event.Kv.Key), e.prefix))
			switch {
			case !ok:
			case event.Type == clientv3.EventTypeDelete:
				o.backlog.Remove(m)
			case event.IsCreate():
				o.backlog.Add(m)
				o.wake()
			}
		}
	}
	return errors.New("etcd has ended the watch")
}

// failures ends the lead of a gateway that cannot do what it leads for. It is safe for
// concurrent use.
type failures struct {
	mu    sync.Mutex
	since time.Time // zero if the last time was no failure
	end   context.CancelFunc
}

func (f *failures) begin(end context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.since, f.end = time.Time{}, end
}

// note records whether it has failed.
func (f *failures) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.since = time.Time{}
	case f.since.IsZero():
		f.since = time.Now()
	case time.Since(f.since) > maxFailing && f.end != nil:
		f.end()
	}
}
