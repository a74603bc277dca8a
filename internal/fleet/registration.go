package fleet

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// registration is what a gateway says about itself in etcd. Only the gateway changes it,
// except that others may fence it or, once it cannot serve any more, delete it.
type registration struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	State   string `json:"state"`
	Mode    string `json:"mode"`
	// LeaseMS is how long one lease of the gateway lasts, in milliseconds by its clock.
	LeaseMS int64 `json:"lease_ms"`
	// Acknowledged is the number of a change up to which the gateway has applied
	// everything that takes access away, and AcknowledgedSum the beginning of its sum:
	// once etcd was restored from a snapshot, another change can have the number.
	Acknowledged    uint64 `json:"acknowledged"`
	AcknowledgedSum []byte `json:"acknowledged_sum"`
	// WallMS is the time on the gateway's clock when it wrote this, in milliseconds since
	// 1970.
	WallMS    int64 `json:"wall_ms"`
	StartedMS int64 `json:"started_ms"`
}

func (r *registration) serving() bool        { return r.State == apikey.GatewayServing }
func (r *registration) static() bool         { return r.Mode == apikey.ModeStatic }
func (r *registration) lease() time.Duration { return time.Duration(r.LeaseMS) * time.Millisecond }

// registered is a registration as it is in etcd.
type registered struct {
	registration
	id       string
	revision int64 // of the last change
}

// openRegistration decodes a registration. One that cannot be read has no state.
func (e *etcd) openRegistration(id string, sealed []byte, revision int64) (registered, error) {
	name := e.name(gatewayPrefix + id)
	found := registered{id: id, revision: revision}
	value, _, err := e.keys.open(name, sealed)
	if err != nil {
		return registered{id: id, revision: revision}, err
	}
	if err := json.Unmarshal(value, &found.registration); err != nil {
		return registered{id: id, revision: revision}, fmt.Errorf("%s: %w", name, err)
	}
	return found, nil
}

// getRegistration returns the registration of a gateway as it is in etcd; nil if there is none.
func (e *etcd) getRegistration(ctx context.Context, id string) (*mvccpb.KeyValue, error) {
	read, err := e.read(ctx, clientv3.OpGet(e.name(gatewayPrefix+id)))
	if err != nil {
		return nil, err
	}
	if kvs := read.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		return kvs[0], nil
	}
	return nil, nil
}

// getGateways reads all registrations.
func (e *etcd) getGateways() clientv3.Op {
	return clientv3.OpGet(e.name(gatewayPrefix), clientv3.WithPrefix())
}

// nameOf returns what to call the gateway of a registration in a message.
func (e *etcd) nameOf(kv *mvccpb.KeyValue) string {
	id := strings.TrimPrefix(string(kv.Key), e.name(gatewayPrefix))
	if found, err := e.openRegistration(id, kv.Value, kv.ModRevision); err == nil {
		return found.Name + " (" + id + ")"
	}
	return id
}

func (e *etcd) sealRegistration(id string, r registration) string {
	value, _ := json.Marshal(r) // which cannot fail
	return string(e.keys.seal(e.name(gatewayPrefix+id), r.Acknowledged, value))
}

// errFenced is why a gateway has to register again.
var errFenced = errors.New("this gateway was excluded because it did not acknowledge a change in time")

// membership is this gateway's own registration. It is not safe for concurrent use.
type membership struct {
	etcd *etcd
	id   string
	registration
	revision int64
	// unsure are those that were put since, of which etcd has not said whether they were
	// made: it may still make one of them.
	unsure []attempted
}

// attempted is a registration as it was to be put, and sealed.
type attempted struct {
	registration
	sealed string
}

// register registers this gateway as loading.
func register(ctx context.Context, e *etcd, o *Options, started time.Time) (*membership, error) {
	m := &membership{etcd: e, id: rand.Text(), registration: registration{
		Name: o.Name, Version: o.Version, State: apikey.GatewayLoading, Mode: o.mode(),
		LeaseMS: o.lease().Milliseconds(), StartedMS: started.UnixMilli(),
	}}
	return m, m.put(ctx, m.registration)
}

// put replaces the registration, unless somebody else has changed it. A failed attempt
// may have been made all the same, so it is repeated until it is known. If etcd has no space
// to repeat it, that is known from what is there.
func (m *membership) put(ctx context.Context, r registration) error {
	r.WallMS = time.Now().UnixMilli()
	name := m.etcd.name(gatewayPrefix + m.id)
	one := attempted{r, m.etcd.sealRegistration(m.id, r)}
	for first := true; ; {
		resp, err := m.etcd.write(ctx,
			[]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(name), "=", m.revision)},
			[]clientv3.Op{clientv3.OpPut(name, one.sealed)}, []clientv3.Op{clientv3.OpGet(name)})
		if errors.Is(err, errAmbiguous) && first {
			m.unsure, first = append(m.unsure, one), false
		}
		switch {
		case errors.Is(err, errAmbiguous) && ctx.Err() == nil:
			continue
		case errors.Is(err, rpctypes.ErrNoSpace):
			if read, readErr := m.etcd.read(ctx, clientv3.OpGet(name)); readErr == nil && m.recognize(read) == one.sealed {
				return nil
			}
			return err
		case err != nil:
			return err
		case resp.Succeeded:
			m.became(r, resp.Header.Revision)
			return nil
		}
		switch m.recognize(resp) {
		case one.sealed:
			return nil
		case "":
			return errFenced
		}
	}
}

// recognize takes what was read for the registration, if it is one that this gateway was
// unsure of, and returns it as it is sealed; "" if it is none of them.
func (m *membership) recognize(read *clientv3.TxnResponse) (sealed string) {
	for _, kv := range read.Responses[0].GetResponseRange().Kvs {
		for _, one := range m.unsure {
			if string(kv.Value) == one.sealed {
				m.became(one.registration, kv.ModRevision)
				return one.sealed
			}
		}
	}
	return ""
}

// became notes what the registration is, as of a revision.
func (m *membership) became(r registration, revision int64) {
	m.registration, m.revision, m.unsure = r, revision, nil
}

// serve registers the gateway as serving. It must have applied all changes up to a head.
func (m *membership) serve(ctx context.Context, applied apikey.Head) error {
	r := m.registration
	r.State = apikey.GatewayServing
	r.acknowledge(applied)
	return m.put(ctx, r)
}

// acknowledge says that all changes up to a head have been applied.
func (m *membership) acknowledge(ctx context.Context, applied apikey.Head) error {
	r := m.registration
	r.acknowledge(applied)
	return m.put(ctx, r)
}

func (r *registration) acknowledge(applied apikey.Head) {
	end, sum := applied.End()
	r.Acknowledged, r.AcknowledgedSum = end, beginning(sum)
}

// hasAcknowledged reports whether it says that all changes up to a head have been applied. A
// registration of before etcd was restored can say so of another change of that number.
func (r *registration) hasAcknowledged(applied apikey.Head) bool {
	end, sum := applied.End()
	return r.Acknowledged == end && bytes.Equal(r.AcknowledgedSum, beginning(sum))
}

// beginning returns as much of a change's sum as an acknowledgement has: histories are
// confused by accident, if at all.
func beginning(sum []byte) []byte { return sum[:min(len(sum), 8)] }

// abandonedAfter is how long a gateway may be loading before it is taken for one that was
// killed.
const abandonedAfter = time.Hour

// removeAbandoned removes registrations of gateways that were killed while they were
// loading, which nobody waits for, and the tickets of gateways that are not registered. One
// that is still loading notices, and begins again.
func (e *etcd) removeAbandoned(ctx context.Context) error {
	read, err := e.read(ctx, e.getRegistry()...)
	if err != nil {
		return err
	}
	registered := make(map[string]bool)
	for _, kv := range read.Responses[0].GetResponseRange().Kvs {
		name := string(kv.Key)
		id := strings.TrimPrefix(name, e.name(gatewayPrefix))
		registered[id] = true
		g, err := e.openRegistration(id, kv.Value, kv.ModRevision)
		if err != nil || g.State != apikey.GatewayLoading || time.Since(time.UnixMilli(g.WallMS)) < abandonedAfter {
			continue
		}
		if _, err := e.write(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(name), "=", kv.ModRevision)},
			[]clientv3.Op{clientv3.OpDelete(name)}, nil); err != nil {
			return err
		}
	}
	for _, kv := range read.Responses[1].GetResponseRange().Kvs {
		name := strings.TrimPrefix(string(kv.Key), e.prefix)
		if isTicket(name) && !registered[strings.TrimPrefix(name, ticketPrefix)] && e.delete(name) != nil {
			break // they cost nobody anything
		}
	}
	return nil
}
