package caddymodule

import (
	"context"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/agiled/caddy-api-keys/internal/authn"
)

// annotate adds what became of a request to whatever is recorded of it.
func annotate(ctx context.Context, d *authn.Decision) {
	annotateAccessLog(ctx, d)
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

// The attributes of a span. OpenTelemetry's semantic conventions have none for
// an API key or for a tenant, so the names are ours, written as theirs are.
// Their user.id is for a person or a service account that has signed in, which
// a key does not tell. What is theirs, the method, the status and that a 5xx is
// an error, Caddy's span has already.
const (
	spanResult    = attribute.Key("api_key.result")
	spanKeyID     = attribute.Key("api_key.id")
	spanWorkspace = attribute.Key("workspace.id")
)

// annotateSpan adds to the server's span, where Caddy's `tracing` directive has
// begun one and it is sampled.
func annotateSpan(ctx context.Context, d *authn.Decision) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(spanResult.String(string(d.Result)))
	if d.Key != nil {
		span.SetAttributes(spanKeyID.String(d.Key.ID), spanWorkspace.String(d.Key.WorkspaceID))
	}
}
