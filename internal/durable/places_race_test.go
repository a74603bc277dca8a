//go:build race

package durable

// places is how many places of a file each mishap is applied to. With the race
// detector, the process that opens each store takes ten times as long.
const places = 2
