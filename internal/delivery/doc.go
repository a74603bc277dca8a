// Package delivery sends the messages of an outbox to their receivers, as Standard Webhooks
// describes.
//
// A message is sent until its receiver has confirmed it, for three days at most.
// Those about one subject are sent in their order. Trouble with one subject delays no other,
// and receivers do not affect each other. State is kept only in the outbox: after a restart,
// everything pending is tried immediately.
package delivery
