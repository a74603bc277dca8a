// Command keyservice checks keys for proxies that cannot do so themselves: it knows the
// digests of all keys, and answers 200 with the workspace, or 401.
package main

import (
	"bufio"
	"crypto/sha256"
	"flag"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "the address to listen on")
	tokens := flag.String("tokens", "", "a file with a token in each line")
	flag.Parse()
	known, err := read(*tokens)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(*listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !known[sha256.Sum256([]byte(token))] {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Workspace-ID", "acme")
	})))
}

func read(path string) (map[[sha256.Size]byte]bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	known := make(map[[sha256.Size]byte]bool)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		known[sha256.Sum256(lines.Bytes())] = true
	}
	return known, lines.Err()
}
