package client

// Propagation is how far a change that takes access away has reached.
type Propagation struct {
	// State is [Confirmed] or [Pending].
	State string `json:"state"`
	// Revision is the number of the gateway's last change when it answered. Changes
	// are numbered in their order, from 1 on.
	Revision uint64 `json:"revision"`
	// Gateways is how many gateways serve requests by the same keys: 1 for a gateway
	// with a store of its own.
	Gateways int `json:"gateways"`
	// WaitedMS is how long the answer waited for the other gateways, in milliseconds.
	WaitedMS int64 `json:"waited_ms"`
	// Behind are the names of the gateways that may still allow a request by what was
	// taken away. It is empty if the change is confirmed.
	Behind []string `json:"behind,omitempty"`
}

const (
	// Confirmed means that no gateway allows a request by what was taken away, if the
	// request starts after the answer.
	Confirmed = "confirmed"
	// Pending means that some gateway may still allow one.
	Pending = "pending"
)
