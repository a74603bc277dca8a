// Package gatewaytest runs gateways, and the servers around them, for the tests of
// several packages.
package gatewaytest
