package fleet

import (
	"context"
	"errors"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// askedAtOnce is how many parts of the records one transaction reads from. etcd allows 128
// operations.
const askedAtOnce = 100

// warnOfFormerKey logs if records in etcd are sealed with a key that this gateway does not
// have, as after it was replaced and they were not sealed again. With a replica that is
// complete, the gateway still serves, and nothing else would say that it could not fill
// another one. One record of each part is read: their number does not matter.
func (f *Fleet) warnOfFormerKey(ctx context.Context, e *etcd) {
	for parts := range slices.Chunk(allParts(), askedAtOnce) {
		gets := make([]clientv3.Op, len(parts))
		for i, part := range parts {
			gets[i] = clientv3.OpGet(e.name(part), clientv3.WithPrefix(), clientv3.WithLimit(1))
		}
		read, err := e.read(ctx, gets...)
		if err != nil {
			return // it is only for a warning, and others say what fails
		}
		for _, one := range read.Responses {
			for _, kv := range one.GetResponseRange().Kvs {
				_, _, err := e.openRecord(string(kv.Key), kv.Value)
				if other, is := errors.AsType[*otherKeyError](err); is {
					f.log.Warn("this gateway could not fill a replica from etcd: it lacks an integrity_key of records there", zap.Error(other))
					return
				}
			}
		}
	}
}
