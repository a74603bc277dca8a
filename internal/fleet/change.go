package fleet

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/sethash"
)

// firstHead returns the head of a new fleet, in which nothing has been changed.
func firstHead() apikey.Head {
	id := rand.Text()
	sum := sha256.Sum256([]byte(id))
	return apikey.Head{Fleet: id, Sum: sum[:], Set: new(sethash.Hash).Sum()}
}

// next returns the head of a plan that follows another one.
func next(before apikey.Head, plan apikey.Plan) apikey.Head {
	head := apikey.Head{
		Fleet: before.Fleet, Seq: before.Seq + 1, Set: plan.Set,
		LastEvent: max(before.LastEvent, plan.LastEvent), LastEnd: before.Seq + 1,
	}
	if !plan.Ends {
		head.LastEnd, head.EndSum = before.End()
	}
	head.Sum = sumOf(before.Sum, head, plan.Records)
	return head
}

// last returns the head with which a move ends a fleet.
func last(before apikey.Head, move string) apikey.Head {
	head := before
	head.Seq++
	head.LastEnd, head.Ended = head.Seq, move
	head.Sum = sumOf(before.Sum, head, nil)
	return head
}

// sumOf returns the hash of a change and of all before it.
func sumOf(before []byte, head apikey.Head, records []apikey.Record) []byte {
	h := sha256.New()
	write := func(part []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	head.Sum = before
	described, _ := json.Marshal(head) // which cannot fail
	write(described)
	inOrder := slices.SortedFunc(slices.Values(records), func(a, b apikey.Record) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID))
	})
	for _, r := range inOrder {
		write([]byte{byte(r.Kind), deleted(r)})
		write([]byte(r.ID))
		write(r.Value)
	}
	return h.Sum(nil)
}

func deleted(r apikey.Record) byte {
	if r.Value == nil {
		return 1
	}
	return 0
}

// errHistory is why a replica cannot continue: etcd's changes do not follow those that the
// replica has.
var errHistory = errors.New("etcd has a different history from this replica")

// follows reports whether a change is the next one.
func follows(before, head apikey.Head, records []apikey.Record) error {
	if head.Fleet != before.Fleet || head.Seq != before.Seq+1 || !bytes.Equal(head.Sum, sumOf(before.Sum, head, records)) {
		return fmt.Errorf("%w: change %d does not follow change %d", errHistory, head.Seq, before.Seq)
	}
	return nil
}

// sameChange reports whether two heads are of the same change of the same history.
func sameChange(a, b apikey.Head) bool {
	return a.Fleet == b.Fleet && a.Seq == b.Seq && bytes.Equal(a.Sum, b.Sum)
}

// sealHead encodes a head.
func (k keyring) sealHead(name string, head apikey.Head) []byte {
	value, _ := json.Marshal(head) // which cannot fail
	return k.seal(name, head.Seq, value)
}

// openHead decodes a head. That of a fleet that has ended comes with an [endedError].
func (k keyring) openHead(name string, sealed []byte) (head apikey.Head, err error) {
	value, seq, err := k.open(name, sealed)
	if err != nil {
		return head, err
	}
	if err := json.Unmarshal(value, &head); err != nil || head.Seq != seq {
		return head, fmt.Errorf("%s: %w", name, errors.Join(errUnsealed, err))
	}
	if head.Ended != "" {
		return head, &endedError{head}
	}
	return head, nil
}

// endedError is why no gateway serves a fleet any more.
type endedError struct{ head apikey.Head }

func (*endedError) Error() string {
	return "this fleet has ended: caddy api-keys fleet detach has made one of its replicas a store of its own, which has its keys now"
}
