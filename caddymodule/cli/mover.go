package cli

import "context"

// Mover moves the stores of stopped gateways into fleets and out of them. How to reach
// etcd is in a configuration, given as JSON.
type Mover interface {
	// Import moves a store of its own into a fleet.
	Import(ctx context.Context, config []byte, path string, progress Progress) (Imported, error)
	// Detach makes the replica of a gateway a store of its own, and ends its fleet.
	Detach(ctx context.Context, config []byte, path string) (Detached, error)
}

// Progress is told how far a step of long work is. It is called by one goroutine at a
// time.
type Progress func(step string, done, total int)

// canMove checks the arguments of a command that moves a store.
func (t *terminal) canMove(path string, args []string) error {
	switch {
	case len(args) > 0:
		return usagef("unexpected argument %q", args[0])
	case path == "":
		return usagef("--store PATH is missing: the directory of a stopped gateway's store")
	case t.config == nil:
		return usagef("--config FILE is missing: the configuration with store etcd, which says how to reach etcd")
	}
	return nil
}
