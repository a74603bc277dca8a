//go:build !(linux || darwin || freebsd)

package journal

// lock leaves it to the store beside the journal to be opened only once.
func lock(string) (unlock func(), err error) { return func() {}, nil }
