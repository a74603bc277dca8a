// Package etcdtest runs clusters of etcd, and proxies that cut connections to them, for
// the tests of several packages.
//
// Members are processes of the etcd that test/etcd/go.mod pins. They listen on loopback,
// keep their data in the test's directory, do not sync it to the disk, and are killed
// when the test ends.
package etcdtest
