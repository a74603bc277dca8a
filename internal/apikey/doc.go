// Package apikey is the domain of the gateway: keys, their tokens, the rules
// for names, and the changes that a key can go through.
//
// It makes three promises. It does no I/O and reads no clock: anything that
// depends on time takes it as an argument, so that every rule can be tested at
// any instant. A [Token] never prints itself: only [Token.Reveal] returns the
// secret, and only responses that create a key call it. And every refusal is
// an [*Error] with a stable code, so that the layers above can map it to a
// status without reading its message.
package apikey
