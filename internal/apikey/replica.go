package apikey

// RecordKind says what a [Record] is about.
type RecordKind byte

// The kinds of records.
const (
	RecordKey        RecordKind = 'k' // a key; its id
	RecordSuspension RecordKind = 's' // a workspace that is or was suspended; its id
	RecordFeed       RecordKind = 'f' // a calendar feed, open or ended; the digest of its token, in hexadecimal
	RecordEvent      RecordKind = 'a' // an event of the audit trail; its id
)

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
	// LastEvent is the id of the latest event of the audit trail.
	LastEvent string `json:"last_event,omitempty"`
	// LastEnd is the Seq of the latest change that has taken access away.
	LastEnd uint64 `json:"last_end,omitempty"`
}

// Position is how far a replica has followed the changes of its fleet.
type Position struct {
	Head
	// Revision is etcd's revision of that change.
	Revision int64 `json:"revision"`
}

// Plan is what some changes would write if they were made now, in their order.
type Plan struct {
	On      Position // what they were planned on
	Records []Record // at most one for each kind and id
	Results []Planned
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
