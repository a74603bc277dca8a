package test

import (
	"context"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// taking is a change that takes access away.
type taking func(context.Context, *client.Client) (client.Propagation, error)

// take makes a change until it is confirmed, as operators are told to, and reports whether
// it is, which it may not be when the test ends. From the first answer on it is
// acknowledged.
func (c *faultClient) take(ctx context.Context, what string, do taking, acknowledged func(), keys ...*usedKey) bool {
	for ctx.Err() == nil {
		var reached client.Propagation
		err := c.ask(ctx, func(ctx context.Context, api *client.Client) (err error) {
			reached, err = do(ctx, api)
			return err
		})
		if err == nil {
			acknowledged()
		}
		if err == nil && reached.State == client.Confirmed {
			for _, k := range keys {
				k.taken.Store(&what)
			}
			c.fleet.confirmed.Add(1)
			return true
		}
		c.fleet.repeated.Add(1)
		c.wait(ctx, 200*time.Millisecond)
	}
	return false
}

func (c *faultClient) revoke(ctx context.Context, a *account, k *usedKey, do taking) {
	a.statuses[k.ID] = []string{client.Active, client.Revoked}
	c.take(ctx, "the revocation of a key", do, func() { a.statuses[k.ID] = []string{client.Revoked} }, k)
}

func (c *faultClient) revokeAll(ctx context.Context, a *account, keys ...*usedKey) {
	status := func(may ...string) {
		for _, k := range keys {
			a.statuses[k.ID] = may
		}
	}
	status(client.Active, client.Revoked)
	c.take(ctx, "the revocation of all keys of a workspace", func(ctx context.Context, api *client.Client) (client.Propagation, error) {
		revoked, err := api.RevokeAll(ctx, a.id, "left")
		return revoked.Propagation, err
	}, func() { status(client.Revoked) }, keys...)
}

// rotate replaces a key, which it tries once: a second try of one that was made would be
// refused. The replacement is used and revoked, too.
func (c *faultClient) rotate(ctx context.Context, a *account, k *usedKey) {
	a.statuses[k.ID] = []string{client.Active, client.Revoked}
	var made client.Rotation
	atOnce := "0s"
	err := c.ask(ctx, func(ctx context.Context, api *client.Client) (err error) {
		made, err = api.RotateKey(ctx, a.id, k.ID, client.RotateRequest{RevokeOldIn: &atOnce})
		return err
	})
	if err != nil {
		c.fleet.repeated.Add(1)
		return
	}
	what := "the rotation of a key"
	replacement := &usedKey{Key: made.Key, token: made.Token}
	a.statuses[k.ID], a.statuses[replacement.ID] = []string{client.Revoked}, []string{client.Active}
	if made.Propagation.State == client.Confirmed {
		k.taken.Store(&what)
		c.fleet.confirmed.Add(1)
	}
	c.fleet.add(replacement)
	c.wait(ctx, time.Second)
	c.revokeAll(ctx, a, replacement)
}

// suspend suspends a workspace, and resumes it afterwards, or not.
func (c *faultClient) suspend(ctx context.Context, a *account, k *usedKey) {
	a.suspended = []bool{true, false}
	if !c.take(ctx, "the suspension of a workspace", func(ctx context.Context, api *client.Client) (client.Propagation, error) {
		suspended, err := api.Suspend(ctx, a.id, "unpaid")
		return suspended.Propagation, err
	}, func() { a.suspended = []bool{true} }, k) {
		return
	}
	c.wait(ctx, 3*time.Second)
	if c.chance.IntN(2) == 0 {
		return
	}
	k.taken.Store(nil)
	a.suspended = []bool{true, false}
	if err := c.ask(ctx, func(ctx context.Context, api *client.Client) error {
		_, err := api.Resume(ctx, a.id)
		return err
	}); err == nil {
		a.suspended = []bool{false}
	}
}
