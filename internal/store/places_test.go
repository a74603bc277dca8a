//go:build !race

package store

// places is how many places of a file each mishap is done at.
const places = 6
