package fleet

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// Of two imports into one fleet, the later one continues.
func TestImport_two(t *testing.T) {
	t.Parallel()
	o, first, second := defaults(etcdtest.Shared(t, 1)), newLived(t), newLived(t)
	var err error
	began := false
	origin := toMove(t, first.path)
	_, overtaken := Import(t.Context(), o, origin, func(step string, done, _ int) {
		if done > 0 && !began {
			began = true
			_, err = Import(t.Context(), o, toMove(t, second.path), silent)
		}
	})
	if err != nil || !errors.Is(overtaken, errOvertaken) {
		t.Errorf("got %v and %v, want %v for the first and no error for the second", overtaken, err, errOvertaken)
	}
	g := openGateway(t, "gw0", o)
	g.awaitLive(t)
	if got := g.records(t); !maps.Equal(got, second.records) {
		t.Errorf("the fleet has other records than the second store: got %d, want %d", len(got), len(second.records))
	}
	closeStore(t, origin)
	alone, err := store.Open(first.path, zap.NewNop(), nil)
	if err != nil {
		t.Fatalf("the first store cannot be used alone any more: %v", err)
	}
	closeStore(t, alone)
}

// An import deletes all that another one has written, even after the count.
func TestImport_overtakesWriting(t *testing.T) {
	t.Parallel()
	const counted, more = pageSize, 1
	o := defaults(etcdtest.Shared(t, 1))
	other := &importing{etcd: connect(t, o), id: "other"}
	if err := other.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	write := func(from, to int) {
		for n := range to - from {
			name := other.etcd.name(fmt.Sprintf("%sx%05d", keyPrefix, from+n))
			if err := other.write(t.Context(), other.mine(), clientv3.OpPut(name, "x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0, counted)
	i := &importing{etcd: other.etcd, id: "own", progress: silent}
	if err := i.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	other.id = i.id // as if it had written the rest before i.begin has written its id
	write(counted, counted+more)
	if err := i.discard(t.Context()); err != nil {
		t.Fatal(err)
	}
	read, err := i.etcd.client.Get(t.Context(), i.etcd.name(dataPrefix), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || read.Count != 0 || i.Discarded != counted+more {
		t.Errorf("got %d records left, %d discarded and error %v, want none left of %d", read.Count, i.Discarded, err, counted+more)
	}
}
