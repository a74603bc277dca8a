// Command upstream is an API behind the gateway that says who is calling. It accepts only
// requests that the gateway has made an assertion for.
//
//	JWKS_URL=https://api.example.com/.well-known/api-keys/jwks.json AUDIENCE=contacts LISTEN=127.0.0.1:9000 go run .
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/agiled/caddy-api-keys/identity"
)

func main() {
	verifier, err := identity.NewVerifier(os.Getenv("JWKS_URL"), os.Getenv("AUDIENCE"))
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", os.Getenv("LISTEN"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, verifier.Middleware(http.HandlerFunc(whoami))))
}

func whoami(w http.ResponseWriter, r *http.Request) {
	caller, _ := identity.FromContext(r.Context())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"workspace": caller.WorkspaceID, "key": caller.KeyID, "access": caller.Access})
}
