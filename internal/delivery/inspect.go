package delivery

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// sweepSize is how many messages are given up at a time.
const sweepSize = 500

// inspect checks how old the pending messages are. If the receiver gets nothing at all,
// messages that have become too old are given up without a try of their own: there can be tens
// of thousands.
func (r *route) inspect(ctx context.Context) {
	r.inspected = time.Now()
	r.oldest.Store(nil)
	for _, workspace := range r.Outbox.Workspaces(r.ID) {
		if ctx.Err() != nil {
			return
		}
		if r.health.gone || r.health.down() {
			r.sweep(ctx, workspace)
		}
		head, err := r.Outbox.Pending(ctx, r.ID, workspace, "", 1)
		if err != nil || len(head) == 0 {
			continue // the next pass says why
		}
		if oldest := r.oldest.Load(); oldest == nil || head[0].At.Before(*oldest) {
			r.oldest.Store(&head[0].At)
		}
	}
}

// sweep gives up the old messages about a workspace.
func (r *route) sweep(ctx context.Context, workspace string) {
	for {
		page, err := r.Outbox.Pending(ctx, r.ID, workspace, "", sweepSize)
		if err != nil {
			return
		}
		var old []webhook.Message
		for _, m := range page {
			if s := r.subjects[m.Subject]; r.isOld(&m) && (s == nil || !s.sending) {
				old = append(old, m)
			}
		}
		if len(old) == 0 || r.Outbox.Done(ctx, old...) != nil {
			return
		}
		for range old {
			r.Observe(GivenUp)
		}
		r.log.Error("gave up on messages to a webhook that has received nothing for a long time, after 3 days",
			zap.String("workspace_id", workspace), zap.Int("messages", len(old)), zap.Time("oldest_written", old[0].At))
	}
}
