package caddymodule

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/authn"
)

// record counts a decision, and adds it to the access log and the trace.
func (h *Auth) record(ctx context.Context, d *authn.Decision, took time.Duration) {
	collectors.CountRequest(d, took)
	h.annotate(ctx, d)
}

// annotate adds a decision to the access log and the trace of its request.
func (h *Auth) annotate(ctx context.Context, d *authn.Decision) {
	if !h.unlogged {
		annotateAccessLog(ctx, d)
	}
	annotateSpan(ctx, d)
}

func annotateAccessLog(ctx context.Context, d *authn.Decision) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Logs == nil {
		return
	}
	fields, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	if !ok {
		return
	}
	for _, field := range decisionFields(d) {
		fields.Set(field)
	}
}

// decisionFields are what logs say about a decision. They never hold anything that
// the client has sent.
func decisionFields(d *authn.Decision) []zap.Field {
	fields := []zap.Field{zap.String("api_key_result", string(d.Result))}
	if d.Key != nil {
		fields = append(fields, zap.String("api_key_id", d.Key.ID()), zap.String("workspace_id", d.Key.WorkspaceID()))
	}
	return fields
}

// The attributes of a span. OpenTelemetry's semantic conventions have none for an
// API key or a tenant, so these names are ours, in their style. Their user.id is a
// person or a service account that has signed in, which a key does not identify.
// Caddy's span already has the method, the status, and that a 5xx is an error.
const (
	spanResult    = attribute.Key("api_key.result")
	spanKeyID     = attribute.Key("api_key.id")
	spanWorkspace = attribute.Key("workspace.id")
)

// annotateSpan adds to the server's span, if Caddy's `tracing` directive has started
// one and it is sampled.
func annotateSpan(ctx context.Context, d *authn.Decision) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(spanResult.String(string(d.Result)))
	if d.Key != nil {
		span.SetAttributes(spanKeyID.String(d.Key.ID()), spanWorkspace.String(d.Key.WorkspaceID()))
	}
}
