package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

const (
	// usersEach is how many clients use keys on each gateway, each of them every usePause.
	usersEach = 6
	usePause  = 90 * time.Millisecond
	// maxInUse is how many keys are used at a time, most of which have been taken away: few
	// enough for each to be used on each gateway every second, which leases exceed.
	maxInUse = 40

	// singly is how many clients change keys one by one. One more has a workspace with
	// manyKeys, of which it uses a few, and revokes all of them at once.
	singly       = 8
	manyKeys     = 250
	manyUsed     = 8
	makersOfMany = 16
)

// usedKey is a key that is used on all gateways, and then taken away.
type usedKey struct {
	client.Key
	token string
	// taken is what was confirmed to have taken it away, nil if nothing was, or if it
	// has been given back since.
	taken atomic.Pointer[string]
}

func (f *faultyFleet) add(keys ...*usedKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inUse = append(f.inUse, keys...)
	f.inUse = f.inUse[max(0, len(f.inUse)-maxInUse):]
}

// any returns one of the keys in use, nil if there is none yet.
func (f *faultyFleet) any() *usedKey {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.inUse) == 0 {
		return nil
	}
	return f.inUse[rand.IntN(len(f.inUse))]
}

// use uses keys on a gateway.
func (f *faultyFleet) use(ctx context.Context, g *faultyGateway) {
	for tick := time.NewTicker(usePause); ctx.Err() == nil; <-tick.C {
		k := f.any()
		if k == nil {
			continue
		}
		taken := k.taken.Load()
		switch status := g.try(ctx, k.token); status {
		case http.StatusOK:
			g.accepted.Add(1)
			if taken != nil && k.taken.CompareAndSwap(taken, nil) { // and nothing has given it back
				f.t.Errorf("gateway %d accepted a request that began after this was confirmed: %s", g.number, *taken)
			}
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable:
			f.refused.Add(1)
		case 0: // no answer
		default:
			f.t.Errorf("gateway %d: got status %d, want 200, 401, 403 or 503", g.number, status)
		}
	}
}

// try returns the status of a request with a token, 0 if there was no answer.
func (g *faultyGateway) try(ctx context.Context, token string) int {
	request, _ := http.NewRequestWithContext(ctx, "GET", "http://"+g.Plain+"/public/v1/contacts", nil)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := g.requests.Do(request)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// faultClient makes changes through any gateway, and knows what must be there.
type faultClient struct {
	fleet    *faultyFleet
	number   int
	chance   *rand.Rand
	accounts []*account
}

// account is a workspace. It says of everything what it may be: one thing if that was
// acknowledged, several while a change of it is in doubt.
type account struct {
	id        string
	statuses  map[string][]string // of keys, by id
	suspended []bool
}

func newFaultClient(f *faultyFleet, number int) *faultClient {
	return &faultClient{fleet: f, number: number, chance: rand.New(rand.NewPCG(f.seed, uint64(number)+1))}
}

// work makes changes until ctx is done.
func (c *faultClient) work(ctx context.Context) {
	for ctx.Err() == nil {
		a := &account{id: fmt.Sprintf("ws%d-%d", c.number, len(c.accounts)), statuses: map[string][]string{}, suspended: []bool{false}}
		c.accounts = append(c.accounts, a)
		if c.number == singly {
			c.many(ctx, a)
			continue
		}
		if k := c.create(ctx, a, "Warehouse sync"); k != nil {
			c.fleet.add(k)
			c.wait(ctx, time.Second) // it is used and remembered
			c.takeAway(ctx, a, k)
		}
		c.wait(ctx, time.Second)
	}
}

func (c *faultClient) wait(ctx context.Context, most time.Duration) {
	select {
	case <-time.After(time.Duration(c.chance.Int64N(int64(most)))):
	case <-ctx.Done():
	}
}

// takeAway takes a key away in one of all ways.
func (c *faultClient) takeAway(ctx context.Context, a *account, k *usedKey) {
	switch c.chance.IntN(6) {
	case 0:
		c.rotate(ctx, a, k)
	case 1:
		c.suspend(ctx, a, k)
	case 2:
		c.revokeAll(ctx, a, k)
	case 3:
		c.revoke(ctx, a, k, func(ctx context.Context, api *client.Client) (client.Propagation, error) {
			revoked, err := api.RevokeToken(ctx, k.token, "")
			return revoked.Propagation, err
		})
	default:
		c.revoke(ctx, a, k, func(ctx context.Context, api *client.Client) (client.Propagation, error) {
			revoked, err := api.RevokeKey(ctx, a.id, k.ID, "")
			return revoked.Propagation, err
		})
	}
}

// many has many keys, and revokes all of them.
func (c *faultClient) many(ctx context.Context, a *account) {
	all := make([]*usedKey, manyKeys)
	var making sync.WaitGroup
	for part := range makersOfMany {
		making.Go(func() {
			for i := part; i < manyKeys && ctx.Err() == nil; i += makersOfMany {
				all[i], _ = c.tryCreate(ctx, a.id, fmt.Sprintf("Warehouse sync %d", i))
			}
		})
	}
	making.Wait()
	all = slices.DeleteFunc(all, func(k *usedKey) bool { return k == nil })
	for _, k := range all {
		a.statuses[k.ID] = []string{client.Active}
	}
	c.fleet.add(all[:min(manyUsed, len(all))]...)
	c.wait(ctx, 5*time.Second)
	c.revokeAll(ctx, a, all...)
	c.wait(ctx, 5*time.Second)
}

// create creates a key, and returns nil if that is not acknowledged.
func (c *faultClient) create(ctx context.Context, a *account, name string) *usedKey {
	k, err := c.tryCreate(ctx, a.id, name)
	if err != nil {
		return nil
	}
	a.statuses[k.ID] = []string{client.Active}
	return k
}

func (c *faultClient) tryCreate(ctx context.Context, ws, name string) (k *usedKey, err error) {
	err = c.ask(ctx, func(ctx context.Context, api *client.Client) error {
		made, err := api.CreateKey(ctx, ws, client.CreateRequest{Name: name, Preset: client.FullAccess})
		if err == nil {
			k = &usedKey{Key: made.Key, token: made.Token}
		}
		return err
	})
	return k, err
}

// patience is how long a client waits for an answer: longer than a gateway for others.
const patience = 15 * time.Second

// ask asks any gateway. A gateway may fail, and a change may be in doubt; what no gateway
// may do is to refuse what is right.
func (c *faultClient) ask(ctx context.Context, do func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	gateways := c.fleet.gateways
	g := gateways[rand.IntN(len(gateways))]
	err := do(ctx, g.Keys())
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.StatusCode != http.StatusServiceUnavailable {
		c.fleet.t.Errorf("gateway %d refused what is right: %v", g.number, err)
	}
	return err
}
