package apikey

import "time"

// RecordKind says what a [Record] is about.
type RecordKind byte

// The kinds of records.
const (
	RecordKey        RecordKind = 'k' // a key; its id
	RecordSuspension RecordKind = 's' // a workspace that is or was suspended; its id
	RecordFeed       RecordKind = 'f' // a calendar feed, open or ended; the digest of its token, in hexadecimal
	RecordEvent      RecordKind = 'a' // an event of the audit trail; its id
	RecordForgotten  RecordKind = 'n' // what has been deleted for its age; [ForgottenID]
	RecordTombstone  RecordKind = 'i' // an imported key that has been deleted for its age; the digest of its token, in hexadecimal
	// RecordSigningKeys is the keys that sign assertions; [SigningKeysID]. It is secret.
	RecordSigningKeys RecordKind = 'j'
	// RecordSchedule is which ends of keys have been announced; [ScheduleID].
	RecordSchedule RecordKind = 'l'
	// RecordMessage is a message to a receiver of webhooks. It is written together with a
	// change, but is not part of what the gateways replicate.
	RecordMessage RecordKind = 'o'
)

// ForgottenID is the id of the one record of the kind [RecordForgotten].
const ForgottenID = "forgotten"

// SigningKeysID is the id of the one record of the kind [RecordSigningKeys].
const SigningKeysID = "keys"

// ScheduleID is the id of the one record of the kind [RecordSchedule].
const ScheduleID = "schedule"

// Record is one of the records that a store consists of, without the indexes that follow
// from it. The gateways of a fleet exchange records, and each derives its own indexes.
type Record struct {
	Kind  RecordKind
	ID    string
	Value []byte // JSON; nil if the record is deleted
}

// Head is the latest change of a fleet. All changes of a fleet form one sequence, and
// each head follows from the one before.
type Head struct {
	// Fleet identifies the fleet. It is chosen when the first gateway starts.
	Fleet string `json:"fleet"`
	// Seq numbers the changes, from 1.
	Seq uint64 `json:"seq"`
	// Sum is a hash of this change and of Sum before it. Two histories with the same Sum
	// are the same.
	Sum []byte `json:"sum"`
	// Set is the sum of the hash of all records that there are after this change: see
	// package sethash.
	Set []byte `json:"set"`
	// LastEvent is the id of the latest event of the audit trail.
	LastEvent string `json:"last_event,omitempty"`
	// LastEnd is the Seq of the latest change that has taken access away, and EndSum its
	// Sum, unless it is this change; 0 and the first Sum if there is none.
	LastEnd uint64 `json:"last_end,omitempty"`
	EndSum  []byte `json:"end_sum,omitempty"`
	// Ended is set by the last change of a fleet, after which no gateway serves: the id of
	// the move by which one of its replicas became a store of its own.
	Ended string `json:"ended,omitempty"`
}

// End returns the Seq and the Sum of the latest change that has taken access away.
func (h *Head) End() (seq uint64, sum []byte) {
	if h.LastEnd == h.Seq {
		return h.Seq, h.Sum
	}
	return h.LastEnd, h.EndSum
}

// Position is how far a replica has followed the changes of its fleet.
type Position struct {
	Head
	// Revision is etcd's revision of that change.
	Revision int64 `json:"revision"`
}

// Membership is what a store knows of the fleet that it belongs to; the zero value is that
// of a store of its own.
type Membership struct {
	// Prefix is where the fleet keeps its data in etcd.
	Prefix string
	// At is how far the store has followed the fleet. It holds only if Complete is true.
	At       Position
	Complete bool
	// Set is the encoded hash of all records, for the replica to keep; nil if it has that
	// already. It is never returned.
	Set []byte
	// Moving says that the store is being moved into the fleet. No gateway opens it until
	// that has finished: whether the fleet has its keys already is known only in etcd. At
	// has the head that the fleet will have then.
	Moving bool
	// Leaving is the id of a move that ends the fleet and makes this store one of its own,
	// "" if none has begun.
	Leaving string
}

// Contact is what a gateway keeps with its replica, for the time after a restart. It is zero
// if the gateway has left the fleet in static mode.
type Contact struct {
	// At is when the fleet was last known to have no later change; zero if the replica,
	// as always in strict mode, may not be served before the fleet has been heard of.
	At time.Time
	// Registrations are the ids under which the replica may be registered as serving.
	Registrations []string
	// Holder is the gateway that has noted this, and where its replica was. A copy of the
	// replica has another one.
	Holder string
}

// Plan is what some changes would write if they were made now, in their order.
type Plan struct {
	On      Position // what they were planned on
	Records []Record // at most one for each kind and id
	Results []Planned
	// Messages are of the kind [RecordMessage]: to be written in the same transaction.
	Messages []Record
	// Dropped is how many messages to a receiver there was no room for.
	Dropped map[string]int
	// Set is the sum of the hash of all records that there would be.
	Set []byte
	// LastEvent is the id of the last event among the records; "" if there is none.
	LastEvent string
	// Ends means that some of the changes take access away.
	Ends bool
}

// Planned is the result that one change of a plan would have.
type Planned struct {
	Outcome Outcome
	Err     error // a refusal, or why it cannot be planned; then its outcome is the zero one
}

// OpPutBack is recorded for [PutBack].
const OpPutBack Operation = "put_back"

// FleetActor is the actor recorded for what a gateway of a fleet does by itself.
const FleetActor = "fleet"

// PutBack adds records to a fleet that it has lost, as after etcd was restored from an old
// snapshot, and that one of its replicas still has. It takes access away where the records
// do, and never gives any back: like a restore, it leaves what was created, changed or
// resumed since as it is, and a key that is revoked in either place is revoked.
type PutBack struct {
	Records []Record
	MadeAt  time.Time // when the replica had followed the fleet up to then
	More    bool      // there are more to follow, and only the last of them is waited for
}

func (PutBack) Operation() Operation      { return OpPutBack }
func (PutBack) Subject() (string, string) { return "", "" }

// The modes of a gateway of a fleet.
const (
	ModeStrict = "strict" // without etcd, it refuses all requests
	ModeStatic = "static" // without etcd, it keeps serving for a day
)

// The states of a gateway of a fleet.
const (
	GatewayLoading    = "loading"    // it is filling its replica, and serves nobody
	GatewayServing    = "serving"    // it may serve while it has a lease
	GatewayUnreadable = "unreadable" // its registration cannot be read: nothing else is known of it
	GatewayFenced     = "fenced"     // it may not serve: it did not acknowledge a change in time
)

// FleetStatus is the state of a fleet, as one of its gateways sees it.
type FleetStatus struct {
	Prefix  string
	Gateway string // the id of the gateway that answers; "" if it has not joined yet
	Name    string // what the configuration calls it
	Mode    string
	// Committed and Applied are the numbers of the latest change of the fleet, and of the
	// latest that this gateway has applied.
	Committed, Applied uint64
	// LastEnd is the number of the latest change that takes access away.
	LastEnd uint64
	// Lease is how long the gateway may keep serving without hearing from etcd; 0 if it is
	// not serving.
	Lease time.Duration
	// Heard is when the gateway last knew that it had applied all changes; zero if it has
	// no lease.
	Heard time.Time
	// Problem is why the gateway is not serving, or cannot reach etcd; "" if all is well.
	Problem string
	// NoRoom says that the problem is that etcd has no space for the gateway to join.
	NoRoom bool
	// Lost is what etcd has lost of the gateway's records; nil if it is nothing.
	Lost  *Lost
	Space FleetSpace
	// Gateways are those that were registered when the gateway last heard of any, by name.
	Gateways []GatewayStatus
	// GatewaysHeard is when that was; zero if it has not heard of any yet.
	GatewaysHeard time.Time
}

// Lost are records of a gateway that etcd has lost, as after it was restored from an old
// snapshot. The gateway does not serve before they have been put back.
type Lost struct {
	Records int  // that have to be put back
	Left    int  // of those, the ones that have not been
	Waiting bool // they are too many to be put back without being asked
}

// FleetSpace is how much of its quota etcd uses, in bytes, on the member that is the
// fullest. It is zero if that is not known.
type FleetSpace struct{ Used, Quota int64 }

// Full reports whether what is left is for changes that take access away, or free space.
func (s FleetSpace) Full() bool { return s.Used > s.Quota-s.Quota/10 }

// UsedUp reports whether etcd refuses all changes.
func (s FleetSpace) UsedUp() bool { return s.Quota > 0 && s.Used >= s.Quota }

// GatewayStatus is the state of one gateway of a fleet.
type GatewayStatus struct {
	ID, Name, Mode, State, Version string
	StartedAt                      time.Time
	// Acknowledged is the number of the latest change that takes access away which the
	// gateway is known to have applied.
	Acknowledged uint64
	// Lease is how long it may keep serving without hearing from etcd.
	Lease time.Duration
	// Ahead is how far its clock was ahead of that of the gateway that answers, when that
	// one heard of the latest change to its registration; below zero if it was behind. The
	// time that the news took counts as behind. Nil if nothing was heard since the start.
	Ahead *time.Duration
}

// Rekeyed is what one step of sealing a fleet's records again has done.
type Rekeyed struct {
	// Checked is how many records the step was about, Sealed how many of them were sealed
	// with another key, and Remaining how many come after them.
	Checked, Sealed, Remaining int
	// Next is where the next step begins, "" if there is none.
	Next string
}
