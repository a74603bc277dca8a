// Package test drives the built binary from outside, as its users do: through
// its ports, its admin endpoint, its command line and its configuration files,
// with a real upstream that looks at every byte it receives.
package test
