// Package fleet makes many gateways serve one set of keys, which they keep in etcd.
//
// Each gateway has a replica of all records and judges requests by it, without asking
// anybody. The fleet promises that a change that takes access away is final: once it is
// confirmed, no gateway of the fleet allows a request by what it took away, if the
// request starts later. That holds whichever gateways and members of etcd were slow,
// stopped or cut off, as long as their clocks run at rates that differ by less than a
// quarter. (A gateway in static mode gives that up in order to serve without etcd: see
// [Static].)
//
// # How
//
// All changes are one sequence. Its latest change is described by a head in etcd, and a
// change is one transaction of etcd, made on the condition that the head is the one it
// was planned on. Every gateway watches the changes and applies them to its replica in
// that order. The heads form a chain of hashes, so that a gateway notices when it is
// shown another history, as after etcd was restored from an old snapshot. Then it puts back
// what is missing there before it serves again.
//
// A gateway serves for as long as it has a lease. It gets one by reading the head and its
// own registration from a majority of etcd, and applying the changes up to that head. The
// lease counts from before the read, so what was changed before is applied. A call that
// takes access away waits until every registered gateway has acknowledged the change, or
// has lost its registration for longer than its lease.
//
// A fleet begins with the first gateway, or with a store that is moved into it ([Import]).
// It ends with a last head, by which one of its replicas becomes a store of its own
// ([Detach]). No gateway gets a lease by that head, so none serves then.
//
// When the integrity key is replaced, all values are sealed again ([Fleet.Rekey]). That is
// not a change: it comes without a new head, and the values stay as they are.
//
// # In etcd
//
// Below the prefix of the fleet:
//
//	d/head            Head: the latest change
//	d/k/<xx>/<id>     a key; xx are two hexadecimal digits, so that they can be read in parts
//	d/s/<workspace>   a suspended workspace
//	d/f/<digest>      a calendar feed
//	d/a/<id>          an event of the audit trail
//	d/n/<id>          what has been deleted for its age
//	d/i/<digest>      an imported key that has been deleted for its age
//	d/j/<id>          the keys that sign assertions
//	d/l/<id>          which ends of keys have been announced to webhooks
//	u/<xxx>           when keys were used; xxx are three hexadecimal digits
//	z/<day>/<xx>/<id> how often keys were used on a day, as a gateway has counted it since a start
//	gw/<id>           registration: a gateway, from its start to its end
//	w/<receiver>/<workspace>/<id>  a message to a webhook, until it is delivered
//	sender/<lease>    a gateway that sends them, the oldest one, or waits to do so
//	q/<id>            a gateway that waits for its turn to change something
//	import            the id of an import that has begun: there is no head until it has finished
//
// A gateway never trusts what it reads: each value is sealed with a key that only the
// gateways have. Someone who can write to etcd can still stop the fleet, but cannot get a
// gateway to accept that a record was deleted, or replaced by an earlier value of its own.
// Gateways that follow the changes ignore that. One that is being filled notices it: the
// head has the hash of all records that there are after the change, as a set (see package
// sethash), to which each change adds what it writes, and from which it removes what it
// replaces.
package fleet
