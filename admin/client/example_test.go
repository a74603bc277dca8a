package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/admin/client/clienttest"
)

// The examples find the API here.
var baseURL, adminToken string

func TestMain(m *testing.M) {
	server, err := clienttest.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	baseURL, adminToken = server.URL, server.Token
	status := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func Example() {
	ctx := context.Background()
	c := &client.Client{BaseURL: baseURL, Token: adminToken}
	created, err := c.CreateKey(ctx, "acme", client.CreateRequest{
		Name:   "Zapier production",
		Owner:  "Ops",
		Preset: client.ReadOnly,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(created.Token), "characters for a secret manager")

	revoked, err := c.RevokeKey(ctx, "acme", created.Key.ID, "the integration was removed")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(revoked.Key.Name, "is", revoked.Key.Status, "and that is", revoked.Propagation.State)
	// Output:
	// 53 characters for a secret manager
	// Zapier production is revoked and that is confirmed
}

func ExampleError() {
	c := &client.Client{BaseURL: baseURL, Token: adminToken}
	_, err := c.CreateKey(context.Background(), "acme", client.CreateRequest{Name: "test", Preset: client.ReadOnly})
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Code == client.CodeVagueName {
		fmt.Println(refusal.Field, refusal.StatusCode)
	}
	// Output: name 422
}

func ExampleClient_RotateKey() {
	ctx := context.Background()
	c := &client.Client{BaseURL: baseURL, Token: adminToken}
	old, err := c.CreateKey(ctx, "globex", client.CreateRequest{Name: "Warehouse sync", Preset: client.FullAccess})
	if err != nil {
		fmt.Println(err)
		return
	}
	aDay := "24h"
	rotation, err := c.RotateKey(ctx, "globex", old.Key.ID, client.RotateRequest{RevokeOldIn: &aDay})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the old key stays active for", rotation.Replaced.RevokesAt.Sub(rotation.Key.CreatedAt))
	// Output: the old key stays active for 24h0m0s
}

func ExampleClient_AllKeys() {
	ctx := context.Background()
	c := &client.Client{BaseURL: baseURL, Token: adminToken}
	for _, name := range []string{"Nightly export", "Finance report"} {
		if _, err := c.CreateKey(ctx, "initech", client.CreateRequest{Name: name, Preset: client.ReadOnly}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for key, err := range c.AllKeys(ctx, "initech", client.Active) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(key.Name)
	}
	// Output:
	// Finance report
	// Nightly export
}

func ExampleClient_AllWorkspaces() {
	ctx := context.Background()
	c := &client.Client{BaseURL: baseURL, Token: adminToken}
	if _, err := c.Suspend(ctx, "vandelay", "unpaid"); err != nil {
		fmt.Println(err)
		return
	}
	for ws, err := range c.AllWorkspaces(ctx, "vandelay") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(ws.ID, "has", ws.Keys.Active, "active keys, and is suspended:", ws.Suspended)
	}
	// Output: vandelay has 0 active keys, and is suspended: true
}

func ExampleClient_AllFoundKeys() {
	ctx := context.Background()
	c := &client.Client{BaseURL: baseURL, Token: adminToken}
	aWeek := "7d"
	for _, ws := range []string{"stark", "wayne"} {
		if _, err := c.CreateKey(ctx, ws, client.CreateRequest{Name: "Fleet telemetry", Preset: client.ReadOnly, ExpiresIn: &aWeek}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for key, err := range c.AllFoundKeys(ctx, client.FindOptions{Query: "telemetry", ExpiresWithin: "14d"}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(key.WorkspaceID, key.Name)
	}
	// Output:
	// stark Fleet telemetry
	// wayne Fleet telemetry
}

func ExampleClient_FindKey() {
	ctx := context.Background()
	c := &client.Client{BaseURL: baseURL, Token: adminToken}
	created, err := c.CreateKey(ctx, "hooli", client.CreateRequest{Name: "Search index", Preset: client.ReadOnly})
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := c.FindKey(ctx, created.Key.ID)
	fmt.Println(key.WorkspaceID, err)
	// Output: hooli <nil>
}

func ExampleClient_Backup() {
	ctx := context.Background()
	c := &client.Client{BaseURL: baseURL, Token: adminToken}
	file, err := os.CreateTemp("", "keys.backup")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.Remove(file.Name())
	defer file.Close()
	backup, err := c.Backup(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer backup.Close()
	copied, err := io.Copy(file, backup)
	fmt.Println(copied == backup.Size, err)
	// Output: true <nil>
}

func ExampleClient_Import() {
	c := &client.Client{BaseURL: baseURL, Token: adminToken}
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, old := range []struct{ name, token string }{
		{"Zapier production", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"},
		{"ZAPIER PRODUCTION", "sk_live_51H8aQ0LkdIwHu7ixraqx2yJ"},
	} {
		digest := sha256.Sum256([]byte(old.token)) // the token stays here
		if err := encoder.Encode(client.ImportLine{
			WorkspaceID: "umbrella", Name: old.name, Preset: client.ReadOnly,
			TokenSHA256: hex.EncodeToString(digest[:]), TokenHint: "sk_live_…" + old.token[len(old.token)-4:],
		}); err != nil {
			fmt.Println(err)
			return
		}
	}
	summary, err := c.Import(context.Background(), &lines, client.ImportOptions{Each: func(r client.ImportResult) error {
		fmt.Println("line", r.Line, "is", r.Outcome)
		if r.Err != nil {
			fmt.Println(r.Err.Code)
		}
		return nil
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(summary.Imported, "imported,", summary.Refused, "refused")
	// Output:
	// line 1 is imported
	// line 2 is refused
	// name_taken
	// 1 imported, 1 refused
}
