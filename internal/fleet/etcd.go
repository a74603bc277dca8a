package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// attemptTimeout bounds one request to one member of etcd. A member that is stopped or cut
	// off answers nothing, and the client moves on to the next only for a new request.
	attemptTimeout = time.Second
	// slowest bounds one that no member has answered in less.
	slowest = 32 * attemptTimeout
)

// etcd is a connection to the members of etcd, seen from below the fleet's prefix. It is
// safe for concurrent use.
type etcd struct {
	client *clientv3.Client
	prefix string
	keys   keyring
	silent atomic.Int32 // how many times in a row no member has answered checkMembers
	unmade atomic.Int32 // likewise for what once requests
}

func dial(o *Options) (*etcd, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: o.Endpoints, Username: o.Username, Password: o.Password, TLS: o.TLS,
		DialOptions:       []grpc.DialOption{grpc.WithChainUnaryInterceptor(authenticateLater(), sayWhy)},
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second, // gRPC takes no less than ten
		Logger: zap.NewNop(), // this package says what has failed
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to etcd: %w", err)
	}
	return &etcd{client: client, prefix: o.Prefix, keys: o.keys()}, nil
}

// authenticateLater answers the client's first request for a token, with an invalid one:
// without that, making a client with a user would wait for etcd. The client asks again as
// soon as etcd refuses the token.
func authenticateLater() grpc.UnaryClientInterceptor {
	var asked atomic.Bool
	return func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if answer, ok := reply.(*etcdserverpb.AuthenticateResponse); ok && !asked.Swap(true) {
			answer.Token = "invalid"
			return nil
		}
		return invoke(ctx, method, request, reply, conn, options...)
	}
}

func (e *etcd) close() { _ = e.client.Close() }

// name returns the key of etcd for a name below the prefix.
func (e *etcd) name(name string) string { return e.prefix + name }

// read runs a transaction that only reads, on another member if one does not answer. If none
// does, they get more time: they may have much to read. It is linearizable: it sees every
// change that was acknowledged before it began. It fails once the connection is closed.
func (e *etcd) read(ctx context.Context, ops ...clientv3.Op) (*clientv3.TxnResponse, error) {
	timeout := attemptTimeout
	for unanswered := 0; ; {
		attempt, cancel := context.WithTimeout(ctx, timeout)
		resp, err := e.client.Txn(attempt).Then(ops...).Commit()
		if attempt.Err() != nil {
			if unanswered++; unanswered%len(e.client.Endpoints()) == 0 {
				timeout = min(2*timeout, slowest)
			}
		}
		cancel()
		if err == nil || ctx.Err() != nil || e.client.Ctx().Err() != nil || !isTransient(err) {
			return resp, explain(err)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// eachPage calls take with the values below a prefix, a page at a time: those of one revision,
// which is the latest if it is given as 0, and is returned.
func (e *etcd) eachPage(ctx context.Context, prefix string, size, revision int64, take func([]*mvccpb.KeyValue) error, options ...clientv3.OpOption) (int64, error) {
	from := e.name(prefix)
	end := clientv3.GetPrefixRangeEnd(from)
	for {
		page := append([]clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(size), clientv3.WithRev(revision)}, options...)
		read, err := e.read(ctx, clientv3.OpGet(from, page...))
		if err != nil {
			return 0, err
		}
		if revision == 0 {
			revision = read.Header.Revision
		}
		found := read.Responses[0].GetResponseRange()
		if len(found.Kvs) == 0 {
			return revision, nil
		}
		if err := take(found.Kvs); err != nil {
			return 0, err
		}
		if !found.More {
			return revision, nil
		}
		from = string(found.Kvs[len(found.Kvs)-1].Key) + "\x00"
	}
}

// neither is the condition that none of some names exists.
func (e *etcd) neither(names ...string) (conditions []clientv3.Cmp) {
	for _, name := range names {
		conditions = append(conditions, clientv3.Compare(clientv3.CreateRevision(e.name(name)), "=", 0))
	}
	return conditions
}

// errAmbiguous is why it is unknown whether etcd has made a change.
var errAmbiguous = errors.New("etcd did not say whether it made the change")

// write runs a transaction once.
func (e *etcd) write(ctx context.Context, conditions []clientv3.Cmp, then, otherwise []clientv3.Op) (resp *clientv3.TxnResponse, err error) {
	err = e.once(ctx, func(attempt context.Context) error {
		resp, err = e.client.Txn(attempt).If(conditions...).Then(then...).Else(otherwise...).Commit()
		return err
	})
	if err != nil && isTransient(err) {
		return nil, fmt.Errorf("%w: %w", errAmbiguous, explain(err))
	}
	return resp, explain(err)
}

// once makes one request that etcd has to write. As long as none is answered in time by any
// member, the next ones get more, but no member gets all the time that ctx has left.
func (e *etcd) once(ctx context.Context, request func(context.Context) error) error {
	least, before, members := 2*attemptTimeout, e.unmade.Load(), int32(len(e.client.Endpoints()))
	timeout := slowest
	if doubled := before / members; doubled < 4 {
		timeout = least << doubled
	}
	if until, bounded := ctx.Deadline(); bounded {
		timeout = min(timeout, max(time.Until(until)/2, least))
	}
	attempt, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	err := request(attempt)
	switch {
	case err != nil && isTransient(err):
		now := e.unmade.Load() // others that waited at the same time count as one
		if attempt.Err() != nil && ctx.Err() == nil && now/members == before/members {
			e.unmade.CompareAndSwap(now, now+1)
		}
	case time.Since(began) < least:
		e.unmade.Store(0)
	}
	return err
}

// delete deletes a name. It may fail: most callers can do without it.
func (e *etcd) delete(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
	defer cancel()
	_, err := e.client.Delete(ctx, e.name(name))
	return err
}

// isTransient reports whether another try may succeed.
func isTransient(err error) bool {
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok { // which has no status
		return e.Code() == codes.Unavailable || e.Code() == codes.DeadlineExceeded || e == rpctypes.ErrTooManyRequests
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unknown, codes.Internal:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// isTokenRefused reports whether etcd refuses the token that a user was given, as it does
// with the first one: see authenticateLater.
func isTokenRefused(err error) bool {
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok { // which has no status
		return e.Code() == codes.Unauthenticated
	}
	return status.Code(err) == codes.Unauthenticated
}

// isSilence reports whether an error means that etcd does not answer.
func isSilence(err error) bool {
	_, fromEtcd := status.FromError(err)
	if _, said := errors.AsType[rpctypes.EtcdError](err); !said && !fromEtcd {
		return errors.Is(err, context.DeadlineExceeded)
	}
	return isTransient(err)
}

// explain says what an error of etcd means to an operator.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("etcd refuses this gateway's user: grant it the role described in docs/fleet.md: %w", err)
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return fmt.Errorf("etcd refuses this gateway's username or password: %w", err)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("etcd has reached its quota: compact and defragment it, or raise --quota-backend-bytes: %w", err)
	}
	return fmt.Errorf("etcd: %w", err)
}

// pause waits, but not longer than ctx lasts.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
