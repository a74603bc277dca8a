// A key's life, by the client that oapi-codegen makes of the API's description.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	log.SetFlags(0)
	ctx := context.Background()
	authorize := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+os.Getenv("ADMIN_TOKEN"))
		return nil
	}
	c, err := NewClientWithResponses(os.Getenv("ADMIN_API"), WithRequestEditorFn(authorize))
	check(err)

	owner := "Ops"
	created, err := c.CreateWithResponse(ctx, "acme", CreateRequest{Name: "Zapier production", Preset: ReadOnly, Owner: &owner})
	check(err)
	if created.JSON201 == nil {
		log.Fatalf("create: got %s: %s", created.Status(), created.Body)
	}
	id := created.JSON201.Key.Id

	again, err := c.CreateWithResponse(ctx, "acme", CreateRequest{Name: "zapier PRODUCTION", Preset: FullAccess})
	check(err)
	if again.JSON409 == nil || again.JSON409.Code != "name_taken" {
		log.Fatalf("create again: got %s: %s", again.Status(), again.Body)
	}

	active := ListParamsStatus("active")
	list, err := c.ListWithResponse(ctx, "acme", &ListParams{Status: &active})
	check(err)
	if list.JSON200 == nil || len(list.JSON200.Keys) != 1 || list.JSON200.Keys[0].Id != id {
		log.Fatalf("list: got %s: %s", list.Status(), list.Body)
	}

	revoked, err := c.RevokeKeyWithResponse(ctx, "acme", id, RevokeKeyJSONRequestBody{})
	check(err)
	if revoked.JSON200 == nil || revoked.JSON200.Key.Status != "revoked" || revoked.JSON200.Key.RevokedAt == nil {
		log.Fatalf("revoke: got %s: %s", revoked.Status(), revoked.Body)
	}
	fmt.Println(created.JSON201.Token)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
