package fleet

import (
	"context"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

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
