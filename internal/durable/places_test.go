//go:build !race

package durable

// places is how many places of a file each mishap is done at.
const places = 6
