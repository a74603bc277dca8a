package fleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// The parts of the fleet's data, below its prefix.
const (
	dataPrefix      = "d/"
	headName        = "d/head"
	importName      = "import"
	gatewayPrefix   = "gw/"
	usePrefix       = "u/"
	usagePrefix     = "z/"
	ticketPrefix    = "q/"
	keyPrefix       = "d/k/"
	suspendPrefix   = "d/s/"
	feedPrefix      = "d/f/"
	eventPrefix     = "d/a/"
	forgottenPrefix = "d/n/"
	tombstonePrefix = "d/i/"
	signingPrefix   = "d/j/"
	schedulePrefix  = "d/l/"
	messagePrefix   = "w/"
	senderName      = "sender"
	shards          = 256
	shardNameWidth  = len("00/")
)

// madeID matches what rand.Text makes: the ids of registrations.
var madeID = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// registrationAt returns the id of the registration with a name. What has another name
// belongs to no gateway.
func registrationAt(name string) (id string, ok bool) {
	id, ok = strings.CutPrefix(name, gatewayPrefix)
	return id, ok && madeID.MatchString(id)
}

// candidate matches what an election names a candidate: by its lease.
var candidate = regexp.MustCompile(`^` + senderName + `/[0-9a-f]{1,16}$`)

func isCandidate(name string) bool { return candidate.MatchString(name) }

// isTicket reports whether a name is that of a gateway's place in the queue.
func isTicket(name string) bool {
	id, ok := strings.CutPrefix(name, ticketPrefix)
	return ok && madeID.MatchString(id)
}

// recordPrefixes are the names of records, without their ids. Those of keys and messages are
// not as simple.
var recordPrefixes = map[apikey.RecordKind]string{
	apikey.RecordSuspension:  suspendPrefix,
	apikey.RecordFeed:        feedPrefix,
	apikey.RecordEvent:       eventPrefix,
	apikey.RecordForgotten:   forgottenPrefix,
	apikey.RecordTombstone:   tombstonePrefix,
	apikey.RecordSigningKeys: signingPrefix,
	apikey.RecordSchedule:    schedulePrefix,
}

// recordName returns where a record is, below the fleet's prefix.
func recordName(r apikey.Record) string {
	switch r.Kind {
	case apikey.RecordKey:
		return shardPrefix(shardOf(r.ID)) + r.ID
	case apikey.RecordMessage:
		return messagePrefix + r.ID
	}
	prefix, known := recordPrefixes[r.Kind]
	if !known {
		panic(fmt.Sprintf("a record of the unknown kind %q", r.Kind))
	}
	return prefix + r.ID
}

// shardOf returns the part of the keys to which a key belongs. Ids begin with the time,
// so only a hash spreads them.
func shardOf(keyID string) byte {
	sum := sha256.Sum256([]byte(keyID))
	return sum[0]
}

// useName returns the name of the value that has a key's uses. There are 4096, so that each
// has a few hundred keys in a fleet of a million.
func useName(keyID string) string {
	sum := sha256.Sum256([]byte(keyID))
	return usePrefix + hex.EncodeToString(sum[:2])[:3]
}

// usageName returns the name of the value that has what a gateway has counted on a day for
// the keys of a shard, under an origin.
func usageName(day apikey.Day, shard byte, origin string) string {
	return fmt.Sprintf("%s%02x/%s", usageDayPrefix(day), shard, cmp.Or(origin, noOrigin))
}

// noOrigin stands for the origin of a store from before it belonged to the fleet.
const noOrigin = "-"

// usageDayPrefix is that of all values of a day.
func usageDayPrefix(day apikey.Day) string { return fmt.Sprintf("%s%06d/", usagePrefix, day) }

// additionName returns the name of one of the values that have what is new in others of a day.
func additionName(day apikey.Day, origin string, n int) string {
	return fmt.Sprintf("%s%08x", additionPrefix(day, origin), n)
}

func additionPrefix(day apikey.Day, origin string) string {
	return fmt.Sprintf("%sx/%s/", usageDayPrefix(day), cmp.Or(origin, noOrigin))
}

// usageNamePattern matches what usageName and additionName return.
var usageNamePattern = regexp.MustCompile(`^z/(\d{6})/(?:[0-9a-f]{2}/([A-Z2-7]{16}|-)|x/([A-Z2-7]{16})/[0-9a-f]{8})$`)

// usageAt returns the day and the origin of a value.
func usageAt(name string) (day apikey.Day, origin string, ok bool) {
	match := usageNamePattern.FindStringSubmatch(name)
	if match == nil {
		return 0, "", false
	}
	n, err := strconv.ParseInt(match[1], 10, 32)
	if origin = match[2] + match[3]; origin == noOrigin {
		origin = ""
	}
	return apikey.Day(n), origin, err == nil
}

func shardPrefix(shard byte) string { return keyPrefix + hex.EncodeToString([]byte{shard}) + "/" }

// recordAt is the inverse of recordName, except for messages: see messageAt.
func recordAt(name string) (kind apikey.RecordKind, id string, ok bool) {
	if rest, ok := strings.CutPrefix(name, keyPrefix); ok { // as most are
		if len(rest) <= shardNameWidth {
			return 0, "", false
		}
		id = rest[shardNameWidth:]
		return apikey.RecordKey, id, name == shardPrefix(shardOf(id))+id
	}
	for kind, prefix := range recordPrefixes {
		if id, ok := strings.CutPrefix(name, prefix); ok {
			return kind, id, true
		}
	}
	return 0, "", false
}
