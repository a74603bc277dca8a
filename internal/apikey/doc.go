// Package apikey is the domain of the gateway: keys, their tokens, the rules
// for names, and the changes that a key can go through.
//
// It promises three things. It does no I/O and reads no clock: whatever
// depends on time takes it as an argument, so that every rule can be tested at
// any instant. A [Token] never prints itself: only [Token.Reveal] gives the
// secret away, and only the answer that creates a key calls it. And every
// refusal is an [*Error] with a stable code, so that the layers above can turn
// it into a status without reading its sentence.
package apikey
