//go:build race

package durable

// places is how many places of a file each mishap is done at. The race detector
// has the other process that opens each store take ten times as long.
const places = 2
