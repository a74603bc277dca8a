package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/sethash"
)

// Origin is a store of its own that is moved into a fleet. No gateway has it open.
type Origin interface {
	// EachRecord calls visit for all records.
	EachRecord(ctx context.Context, visit func(apikey.Record) error) error
	// Membership returns what the store knows of its fleet.
	Membership() (apikey.Membership, error)
	// SetMembership makes the store the replica of a fleet, or one of its own again.
	SetMembership(ctx context.Context, m apikey.Membership) error
}

// Imported is what an import has done.
type Imported struct {
	// Already means that the store had been moved into the fleet before.
	Already bool
	// Discarded is how many records of an interrupted import were deleted first.
	Discarded int
	// Records is how many records the fleet was given, Keys and Events how many of them
	// are keys and events of the audit trail.
	Records, Keys, Events int
}

// Progress is told how far a step of long work is: done of total. It is called by one
// goroutine at a time.
type Progress func(step string, done, total int)

// Import moves a store into a fleet that has no data in etcd yet, and makes it a replica
// of that fleet. It can be repeated if it fails. The store stays one of its own until
// everything is in etcd, but for the head. It is then marked, so that no gateway opens it,
// before the fleet gets its head, without which no gateway serves: at no time can it be
// used alone while its keys are in use in the fleet.
func Import(ctx context.Context, o Options, from Origin, progress Progress) (Imported, error) {
	e, err := dial(&o)
	if err != nil {
		return Imported{}, err
	}
	defer e.close()
	if err := e.awaitMembers(ctx); err != nil {
		return Imported{}, err
	}
	own, err := from.Membership()
	if err != nil {
		return Imported{}, err
	}
	head, _, err := e.readHead(ctx)
	_, ended := errors.AsType[*endedError](err)
	switch {
	case ended:
		return Imported{}, fmt.Errorf("%w. Give the new fleet another prefix, or delete what is left of this one with etcdctl del --prefix %s", err, e.prefix)
	case err != nil:
		return Imported{}, err
	case own.Prefix != "" && own.Prefix != e.prefix:
		return Imported{}, fmt.Errorf("the store belongs to the fleet with the prefix %s, and the configuration says %s: correct the prefix", own.Prefix, e.prefix)
	case head.sealed != nil && own.Prefix == "":
		return Imported{}, fmt.Errorf("there is a fleet below %s already: give the new one another prefix, or bring the keys into that one with a backup, which one of its gateways restores", e.prefix)
	case head.sealed != nil && own.At.Fleet != head.Fleet, head.sealed == nil && own.Prefix != "" && !own.Moving:
		return Imported{}, fmt.Errorf("the store is the replica of a fleet other than the one below %s: only a store that belongs to no fleet can be imported", e.prefix)
	case head.sealed != nil:
		return Imported{Already: true}, settle(ctx, e, from, own, head)
	}
	i := &importing{etcd: e, from: from, progress: progress, id: rand.Text(), head: firstHead()}
	err = i.run(ctx)
	return i.Imported, err
}

// settle finishes an import that has written the head. Gateways may have been started since
// it was interrupted: then the replica is refilled when it is opened.
func settle(ctx context.Context, e *etcd, store Origin, own apikey.Membership, head point) error {
	if !own.Moving {
		return nil
	}
	own = apikey.Membership{Prefix: e.prefix, At: head.Position, Complete: sameChange(own.At.Head, head.Head)}
	return store.SetMembership(ctx, own)
}

// importing is an import in progress.
type importing struct {
	etcd     *etcd
	from     Origin
	progress Progress
	id       string
	head     apikey.Head
	set      sethash.Hash // of all records
	Imported
}

func (i *importing) run(ctx context.Context) error {
	if err := i.begin(ctx); err != nil {
		return err
	}
	// An earlier import may have marked the store, but its head will never come now.
	if err := i.from.SetMembership(ctx, apikey.Membership{}); err != nil {
		return err
	}
	if err := i.discard(ctx); err != nil {
		return err
	}
	if err := i.writeRecords(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // the last moment at which nothing has happened
		return err
	}
	// What is begun now is finished.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if err := i.from.SetMembership(ctx, apikey.Membership{Prefix: i.etcd.prefix, At: apikey.Position{Head: i.head}, Set: i.set.Encode(), Moving: true}); err != nil {
		return err
	}
	at, err := i.writeHead(ctx)
	if errors.Is(err, errOvertaken) { // and so there will never be that head
		return errors.Join(err, i.from.SetMembership(ctx, apikey.Membership{}))
	}
	if err != nil {
		return fmt.Errorf("%w: run this again to find out; until then, no gateway opens the store", err)
	}
	return i.from.SetMembership(ctx, apikey.Membership{Prefix: i.etcd.prefix, At: at, Complete: true})
}

// errOvertaken is why an import cannot continue.
var errOvertaken = errors.New("another import has begun, or a gateway has started a fleet below the same prefix: nothing of the store was changed")

// begin records in etcd that there is an import. Until it ends, no gateway starts a fleet,
// and another import that begins ends this one.
func (i *importing) begin(ctx context.Context) error {
	left, err := i.etcd.read(ctx, clientv3.OpGet(i.etcd.name(importName)), clientv3.OpGet(i.etcd.name(dataPrefix), clientv3.WithPrefix(), clientv3.WithCountOnly()))
	if err != nil {
		return err
	}
	interrupted, found := left.Responses[0].GetResponseRange().Count > 0, left.Responses[1].GetResponseRange().Count
	if found > 0 && !interrupted {
		return fmt.Errorf("there are %d records below %s without a head, and no import wrote them: if no gateway needs them any more, delete them with etcdctl del --prefix %s", found, i.etcd.prefix, i.etcd.prefix)
	}
	i.Discarded = int(found)
	return i.write(ctx, i.etcd.neither(headName), clientv3.OpPut(i.etcd.name(importName), i.id))
}

// mine is the condition that this import has neither ended nor been overtaken.
func (i *importing) mine() []clientv3.Cmp {
	return append(i.etcd.neither(headName), clientv3.Compare(clientv3.Value(i.etcd.name(importName)), "=", i.id))
}

// write runs a transaction, which may be repeated, until etcd answers.
func (i *importing) write(ctx context.Context, conditions []clientv3.Cmp, then ...clientv3.Op) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	for {
		resp, err := i.etcd.write(ctx, conditions, then, nil)
		switch {
		case err == nil && !resp.Succeeded:
			return errOvertaken
		case !errors.Is(err, errAmbiguous) || ctx.Err() != nil:
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// discard deletes what an earlier import has left. That may be more than begin found: it may
// have been writing until then.
func (i *importing) discard(ctx context.Context) error {
	from, end := i.etcd.name(dataPrefix), clientv3.GetPrefixRangeEnd(i.etcd.name(dataPrefix))
	for done := 0; ; {
		if i.Discarded = max(i.Discarded, done); i.Discarded > 0 {
			i.progress("Deleting what an interrupted import has left", done, i.Discarded)
		}
		read, err := i.etcd.read(ctx, clientv3.OpGet(from, clientv3.WithRange(end), clientv3.WithKeysOnly(), clientv3.WithLimit(pageSize)))
		if err != nil {
			return err
		}
		found := read.Responses[0].GetResponseRange().Kvs
		if len(found) == 0 {
			return nil
		}
		after := string(found[len(found)-1].Key) + "\x00"
		if err := i.write(ctx, i.mine(), clientv3.OpDelete(from, clientv3.WithRange(after))); err != nil {
			return err
		}
		done += len(found)
	}
}

// writeHead ends the import, and returns the position of the new fleet.
func (i *importing) writeHead(ctx context.Context) (apikey.Position, error) {
	name := i.etcd.name(headName)
	sealed := string(i.etcd.keys.sealHead(name, i.head))
	for {
		resp, err := i.etcd.write(ctx, i.mine(),
			[]clientv3.Op{clientv3.OpPut(name, sealed), clientv3.OpDelete(i.etcd.name(importName))}, []clientv3.Op{clientv3.OpGet(name)})
		switch {
		case errors.Is(err, errAmbiguous) && ctx.Err() == nil:
			continue
		case err != nil:
			return apikey.Position{}, err
		case resp.Succeeded:
			return apikey.Position{Head: i.head, Revision: resp.Header.Revision}, nil
		}
		now, err := i.etcd.headIn(resp.Responses[0].GetResponseRange())
		switch {
		case err != nil:
			return apikey.Position{}, err
		case now.Fleet != i.head.Fleet:
			return apikey.Position{}, errOvertaken
		case !sameChange(now.Head, i.head): // by an earlier attempt, and gateways have made changes since
			return apikey.Position{}, errors.New("gateways have changed the fleet already")
		}
		return now.Position, nil
	}
}
