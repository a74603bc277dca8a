//go:build !race

package durable

// places is how many places of a file each mishap is applied to.
const places = 6
