package fleet

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// intercepted is a connection to etcd on which a function makes the transactions. It calls
// invoke to have them made.
func intercepted(t *testing.T, o Options, transact func(ctx context.Context, txn *etcdserverpb.TxnRequest, invoke func() error) error) *etcd {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: o.Endpoints, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
			made := func() error { return invoke(ctx, method, request, reply, conn, options...) }
			if txn, ok := request.(*etcdserverpb.TxnRequest); ok {
				return transact(ctx, txn, made)
			}
			return made()
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	e := connect(t, o)
	e.close()
	e.client = client
	return e
}

// A read for which etcd needs longer than for most ends all the same.
func TestEtcd_slowRead(t *testing.T) {
	t.Parallel()
	e := intercepted(t, defaults(etcdtest.Shared(t, 1)), func(ctx context.Context, _ *etcdserverpb.TxnRequest, invoke func() error) error {
		if err := pause(ctx, attemptTimeout+attemptTimeout/4); err != nil {
			return err
		}
		return invoke()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, _, err := e.readHead(ctx); err != nil {
		t.Errorf("got %v, want an answer", err)
	}
}

// So does a write, and those after it get that time from the start, until etcd is fast again.
func TestEtcd_slowWrite(t *testing.T) {
	t.Parallel()
	var slow atomic.Bool
	slow.Store(true)
	o := defaults(etcdtest.Shared(t, 1))
	e := intercepted(t, o, func(ctx context.Context, txn *etcdserverpb.TxnRequest, invoke func() error) error {
		if slow.Load() && len(txn.Success) > 0 && txn.Success[0].GetRequestPut() != nil {
			if err := pause(ctx, 2*attemptTimeout+attemptTimeout/4); err != nil {
				return err
			}
		}
		return invoke()
	})
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	m, err := register(ctx, e, &o, time.Now())
	if err != nil {
		t.Fatalf("got %v, want an answer", err)
	}
	put := []clientv3.Op{clientv3.OpPut(e.name("x"), "x")}
	if _, err := e.write(ctx, nil, put, nil); err != nil {
		t.Errorf("the next one: got %v, want an answer at once", err)
	}
	slow.Store(false)
	if err := m.serve(ctx, apikey.Head{}); err != nil {
		t.Error(err)
	}
	slow.Store(true)
	if _, err := e.write(ctx, nil, put, nil); !errors.Is(err, errAmbiguous) {
		t.Errorf("one that is slow after a fast one: got %v, want %v", err, errAmbiguous)
	}

	// What many wait for at the same time does not make one wait for longer.
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { _, _ = e.write(ctx, nil, put, nil) })
	}
	all.Wait()
	if got := e.unmade.Load(); got > 2 {
		t.Errorf("it is taken for silent %d times, want 2 at most", got)
	}
}
