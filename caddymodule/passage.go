package caddymodule

// passage is a request that passed, on its way. It is one piece of memory, because
// allocations are most of what the check costs.
type passage struct {
	announced           // its answer
	stream    stream    // that answer and its body, on their way
	identity  [3]string // the values of its identity headers
}
