package webhook

import (
	"context"
	"time"
)

// Outbox keeps messages from the transaction that has written them until they are
// delivered, or given up. It is safe for concurrent use.
type Outbox interface {
	// Lead waits until this gateway may send: in a fleet, one gateway does at a time, on one
	// machine there is no wait. leading is done as soon as it may no longer, and then, or
	// when it wants to stop, the caller calls resign, once nothing is being sent.
	//
	// It fails only if ctx is done.
	Lead(ctx context.Context) (leading context.Context, resign func(), err error)

	// Announce writes the messages that have become due by now, which has to be a time that
	// is certain to have passed. The leader calls it once a second. A call does a bounded
	// amount of work, and reports whether there is more.
	Announce(ctx context.Context, now time.Time) (more bool, err error)

	// Workspaces returns the workspaces that messages to a receiver are about, sorted. Who
	// sends does not let one wait until another has no more.
	Workspaces(receiver string) []string

	// Pending returns up to most messages to a receiver about a workspace and its keys, the
	// oldest first, which follow the one with the given id; from the oldest on if that is
	// "". The message with that id need not exist.
	Pending(ctx context.Context, receiver, workspace, after string, most int) ([]Message, error)

	// Done removes messages that were delivered, or given up. It is durable when it returns,
	// and cheaper for many messages together. Removing one that is not there does nothing.
	// If it fails, the messages are still there, and will be sent again.
	Done(ctx context.Context, messages ...Message) error

	// Added has an element once messages may have been added since it was last received
	// from. One goroutine receives.
	Added() <-chan struct{}

	// Count returns how many messages to a receiver are pending; in a fleet, 0 on a gateway
	// that does not lead. It takes no time.
	Count(receiver string) int

	// Dropped returns how many messages to a receiver were dropped by this gateway since it
	// has started, because its outbox was full: see [MaxPending].
	Dropped(receiver string) int
}

// The most messages to one receiver that an outbox keeps, as when it cannot be reached for
// days. What exceeds them is dropped: no webhook may fill the disk.
const (
	// MaxPending is the most messages to a receiver.
	MaxPending = 200_000
	// MaxPendingOfOne is the most that are about one workspace once there are half of
	// MaxPending, so that one workspace leaves room for the others.
	MaxPendingOfOne = MaxPending / 20
)

// forgottenAtOnce is how many messages Forget deletes at a time.
const forgottenAtOnce = 1000

// Forget deletes the messages to a receiver that there are when it begins, and returns their
// number.
func Forget(ctx context.Context, o Outbox, receiver string) (forgotten int, err error) {
	for _, workspace := range o.Workspaces(receiver) {
		for after := ""; ; {
			some, err := o.Pending(ctx, receiver, workspace, after, forgottenAtOnce)
			if err == nil {
				err = o.Done(ctx, some...)
			}
			if err != nil {
				return forgotten, err
			}
			if forgotten += len(some); len(some) < forgottenAtOnce {
				break
			}
			after = some[len(some)-1].ID
		}
	}
	return forgotten, nil
}
