// Package gatewaytest has what the tests of several packages need to run
// gateways and the servers around them.
package gatewaytest
