package caddymodule

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// The kinds of store.
const (
	badgerStore = "badger"
	etcdStore   = "etcd"
)

// The modes of a gateway whose store is in etcd.
const (
	strict = "strict"
	static = "static"
)

const (
	defaultPrefix       = "/api-keys/"
	defaultName         = "{system.hostname}"
	defaultMaxStaleness = 15 * time.Second

	minMaxStaleness  = 3 * time.Second
	maxIntegrityKeys = 2 // the new one and the old one, during a rotation
)

// EtcdStore configures a store that several gateways share: its keys are in etcd, and
// each gateway keeps a copy of them in a directory of its own.
type EtcdStore struct {
	// The addresses of etcd's members, such as `https://10.0.0.1:2379`, all with the
	// same scheme. One is enough; with all of them, etcd can be reached while a member is
	// down. Required with `etcd`.
	Endpoints []string `json:"endpoints,omitempty"`

	// What all of this store's keys in etcd begin with. It begins and ends with a slash.
	// Gateways with the same prefix share a store. Default: `/api-keys/`.
	Prefix string `json:"prefix,omitempty"`

	// The etcd user, which needs to read and write everything below the prefix. May be a
	// placeholder. Default: none.
	Username string `json:"username,omitempty"`

	// The user's password. Use a placeholder, such as `{env.ETCD_PASSWORD}`, so that the
	// configuration does not contain it. Required with a user.
	Password string `json:"password,omitempty"`

	// How etcd is trusted, and how this gateway identifies itself to it. Only with
	// `https` endpoints. Default: the system's certificate authorities, and no client
	// certificate.
	TLS *EtcdTLS `json:"tls,omitempty"`

	// What this gateway does while it cannot reach etcd. `strict`: it answers 503 once it
	// has not heard from etcd for `max_staleness`, so that no revoked key is accepted.
	// `static`: it keeps serving for up to 24 hours with the keys that it knows, and a
	// revocation stays pending until this gateway has acknowledged it. Default: `strict`.
	Mode string `json:"mode,omitempty"`

	// How long this gateway may judge requests after it has last heard from etcd. At
	// least 3 seconds. Revoking a key waits this long, and a quarter more, for a gateway
	// that does not respond. Default: `15s`.
	MaxStaleness caddy.Duration `json:"max_staleness,omitempty"`

	// One or two secrets of 64 hexadecimal digits, the same on all gateways. What a gateway
	// writes to etcd is sealed with the first, and what it reads must be sealed with
	// either: someone who can write to etcd still cannot create a key. Use placeholders,
	// such as `{env.API_KEYS_FLEET_KEY}`, so that the configuration does not contain the
	// secrets. Required with `etcd`.
	IntegrityKeys []string `json:"integrity_keys,omitempty"`

	// What this gateway is called in messages and in the status of the others: up to 100
	// printable ASCII characters without spaces. May contain placeholders. Default:
	// `{system.hostname}`.
	Name string `json:"name,omitempty"`
}

// EtcdTLS are the files for TLS connections to etcd, in PEM. They are read when the
// configuration is loaded. The paths may contain placeholders.
type EtcdTLS struct {
	// The certificates of the authorities that etcd's certificate may be signed by.
	// Default: those of the system.
	CA string `json:"ca,omitempty"`

	// This gateway's client certificate. Default: none.
	Certificate string `json:"certificate,omitempty"`

	// The private key of the client certificate. Required with a certificate.
	Key string `json:"key,omitempty"`
}

// fleetOptions are the options of a store in etcd, with their defaults and with their
// placeholders replaced. They contain secrets: do not log them.
type fleetOptions struct {
	endpoints          []string
	prefix             string
	username, password string
	tls                *tls.Config // nil for http endpoints
	static             bool
	maxStaleness       time.Duration
	integrityKeys      [][32]byte // the first seals
	name               string
}

// fleetOptions sets defaults, replaces placeholders, and reads the files. Whether the
// options are valid is for check to say.
func (e *EtcdStore) fleetOptions() (*fleetOptions, error) {
	setDefault(&e.Prefix, defaultPrefix)
	setDefault(&e.Mode, strict)
	setDefault(&e.MaxStaleness, caddy.Duration(defaultMaxStaleness))
	setDefault(&e.Name, defaultName)
	options := &fleetOptions{
		endpoints: e.Endpoints, prefix: e.Prefix,
		static: e.Mode == static, maxStaleness: time.Duration(e.MaxStaleness),
	}
	var err error
	if options.username, err = evaluated(e.Username); err != nil {
		return nil, fmt.Errorf("username: %w", err)
	}
	if options.password, err = evaluated(e.Password); err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	if options.integrityKeys, err = e.integrityKeys(); err != nil {
		return nil, err
	}
	if options.name, err = evaluated(e.Name); err == nil {
		err = validateGatewayName(options.name)
	}
	if err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	if e.encrypted() {
		if options.tls, err = e.TLS.config(); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
	}
	return options, nil
}

// same reports whether other options are equal, as after a reload that did not change them.
// The files of TLS may have changed in any case, so connections that use TLS are always
// reopened.
func (o *fleetOptions) same(other *fleetOptions) bool {
	return o.tls == nil && reflect.DeepEqual(o, other)
}

// encrypted reports whether etcd is reached through TLS.
func (e *EtcdStore) encrypted() bool {
	return len(e.Endpoints) > 0 && strings.HasPrefix(e.Endpoints[0], "https://")
}

// integrityKeys returns the keys that records in etcd are sealed with.
func (e *EtcdStore) integrityKeys() (keys [][32]byte, err error) {
	for _, written := range e.IntegrityKeys {
		digits, err := evaluated(written)
		if err != nil {
			return nil, fmt.Errorf("integrity_key: %w", err)
		}
		key, err := parseIntegrityKey(strings.TrimSpace(digits))
		if err != nil {
			return nil, fmt.Errorf("integrity_key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// parseIntegrityKey parses 64 hexadecimal digits. Its error does not contain them.
func parseIntegrityKey(digits string) (key [32]byte, err error) {
	secret, err := hex.DecodeString(digits)
	if err != nil || len(secret) != len(key) {
		return key, errors.New("an integrity key is 64 hexadecimal digits: make one with openssl rand -hex 32")
	}
	return [32]byte(secret), nil
}

// config reads the files. Without any, etcd is verified as the system verifies others.
func (t *EtcdTLS) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t == nil {
		return config, nil
	}
	var paths [3]string
	for i, path := range []string{t.CA, t.Certificate, t.Key} {
		var err error
		if paths[i], err = evaluated(path); err != nil {
			return nil, err
		}
	}
	if ca := paths[0]; ca != "" {
		file, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate authorities: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(file) {
			return nil, fmt.Errorf("%s contains no certificate: give a file in PEM, with the authorities that etcd's certificate is signed by", ca)
		}
	}
	if certificate, key := paths[1], paths[2]; certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate %s and its key %s: %w", certificate, key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// evaluated returns an option with its placeholders replaced. One that is unknown or
// empty is an error.
func evaluated(option string) (string, error) {
	return caddy.NewReplacer().ReplaceOrErr(option, true, true)
}
