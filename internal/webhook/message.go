package webhook

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/present"
)

// Message is one event on its way to one receiver.
type Message struct {
	// ID identifies it to its receiver, even when it is sent again. The ids of an outbox
	// sort by the order of what they are about.
	ID string
	// Receiver is the id of its receiver.
	Receiver string
	// Workspace is the workspace that it concerns.
	Workspace string
	// Subject is what it is about: a key, or the workspace. Messages about one subject are
	// sent in their order.
	Subject string
	Type    Type
	// At is when it was written.
	At time.Time
	// Body is what is sent.
	Body []byte
}

// NewID returns the id of the nth message of a change. The changes of an outbox are
// numbered in their order.
func NewID(change uint64, n int) string {
	var unique [8]byte // in a copy of the outbox, another change may have the same number
	_, _ = rand.Read(unique[:])
	return fmt.Sprintf("msg_%012x%04x%s", change, n, hex.EncodeToString(unique[:]))
}

var idForm = regexp.MustCompile(`^msg_[0-9a-f]{32}$`)

// ValidID reports whether s has the form of a message's id.
func ValidID(s string) bool { return idForm.MatchString(s) }

// body is what a message says.
type body struct {
	Type      Type      `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	WorkspaceID string      `json:"workspace_id"`
	Key         *client.Key `json:"key,omitzero"`
	Within      string      `json:"within,omitzero"`
}

// About returns the body of a message about a key, as it is at the given instant. within is
// the window that it has come into, if it is [KeyExpiring], and "" otherwise.
func About(t Type, key *apikey.Key, within string, at time.Time) ([]byte, error) {
	shown := present.Key(key, at)
	return json.Marshal(body{t, at.UTC(), data{key.WorkspaceID, &shown, within}})
}

// AboutWorkspace returns the body of a message about a workspace.
func AboutWorkspace(t Type, id string, at time.Time) ([]byte, error) {
	return json.Marshal(body{t, at.UTC(), data{WorkspaceID: id}})
}

// kept is a message in an outbox, apart from what it is found by.
type kept struct {
	Subject string         `json:"subject"`
	Type    Type           `json:"type"`
	At      int64          `json:"at"` // milliseconds since 1970
	Body    jsontext.Value `json:"body"`
}

// Encode returns a message as an outbox keeps it, without its id, receiver and workspace.
func (m *Message) Encode() ([]byte, error) {
	return json.Marshal(kept{m.Subject, m.Type, m.At.UnixMilli(), m.Body})
}

// Decode is the inverse of Encode.
func (m *Message) Decode(value []byte) error {
	var k kept
	if err := json.Unmarshal(value, &k); err != nil {
		return fmt.Errorf("decoding message %s: %w", m.ID, err)
	}
	m.Subject, m.Type, m.At, m.Body = k.Subject, k.Type, time.UnixMilli(k.At).UTC(), k.Body
	return nil
}
