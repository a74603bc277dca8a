package main

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is the owner of the directories that the gateway writes to.
const user = 65532

// filesystem returns the one layer of an image, as a tar archive. A test holds it equal to
// what deploy/docker/Dockerfile copies.
func (r *release) filesystem(p program) ([]byte, error) {
	gateway, err := os.ReadFile(p.path)
	if err != nil {
		return nil, err
	}
	caddyfile, err := os.ReadFile(filepath.Join(root, "deploy/Caddyfile"))
	if err != nil {
		return nil, err
	}
	licence, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	to := newArchive(&layer, r.created)
	err = errors.Join(
		to.directory("etc", 0), to.directory("etc/caddy-api-keys", 0),
		to.file("etc/caddy-api-keys/Caddyfile", caddyfile, 0o644),
		to.directory("etc/ssl", 0), to.directory("etc/ssl/certs", 0),
		to.file("etc/ssl/certs/ca-certificates.crt", certificates(), 0o644),
		to.directory("run", 0), to.directory("run/caddy-api-keys", user),
		to.directory("tmp", user),
		to.directory("usr", 0), to.directory("usr/bin", 0),
		to.link("usr/bin/caddy", "caddy-api-keys"),
		to.file("usr/bin/caddy-api-keys", gateway, 0o755),
		to.directory("usr/share", 0), to.directory("usr/share/doc", 0), to.directory("usr/share/doc/caddy-api-keys", 0),
		to.file("usr/share/doc/caddy-api-keys/LICENSE", licence, 0o644),
		to.directory("var", 0), to.directory("var/lib", 0), to.directory("var/lib/caddy-api-keys", user),
		to.Close(),
	)
	return layer.Bytes(), err
}

// certificates returns the root certificates that Mozilla trusts without restrictions,
// which a file of certificates could not express.
func certificates() []byte {
	var file bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&file, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			panic(err) // a buffer takes everything
		}
	}
	return file.Bytes()
}
