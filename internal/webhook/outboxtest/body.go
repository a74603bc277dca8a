package outboxtest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// event is what a message says.
type event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		WorkspaceID string `json:"workspace_id"`
		Key         *struct {
			ID         string     `json:"id"`
			Status     string     `json:"status"`
			ReplacedBy *string    `json:"replaced_by"`
			RevokedAt  *time.Time `json:"revoked_at"`
		} `json:"key"`
		Within string `json:"within"`
	} `json:"data"`
}

// decode checks that a message is what its body says.
func decode(t testing.TB, m webhook.Message) (e event) {
	t.Helper()
	if err := json.Unmarshal(m.Body, &e); err != nil {
		t.Fatalf("the body %s: %v", m.Body, err)
	}
	subject := e.Data.WorkspaceID
	if e.Data.Key != nil {
		subject = e.Data.Key.ID
	}
	if e.Type != string(m.Type) || e.Data.WorkspaceID != m.Workspace || subject != m.Subject || !webhook.ValidID(m.ID) {
		t.Errorf("got %+v, which says that it is %s about %s of %s", m, e.Type, subject, e.Data.WorkspaceID)
	}
	return e
}
