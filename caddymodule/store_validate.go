package caddymodule

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// check refuses invalid values. The defaults must have been set.
func (s *Store) check() error {
	var errs []error
	if err := oneOf("store", s.Module, badgerStore, etcdStore); err != nil {
		errs = append(errs, err)
	}
	if s.CacheSize < 1 {
		errs = append(errs, errors.New("store: cache_size must be 1 or more"))
	}
	switch {
	case s.Module == etcdStore:
		errs = append(errs, s.EtcdStore.check())
	case !reflect.ValueOf(s.EtcdStore).IsZero():
		errs = append(errs, errors.New("store badger takes only path and cache_size: the other options are those of store etcd"))
	}
	return errors.Join(errs...)
}

// check refuses values that a JSON configuration can have and a Caddyfile cannot.
func (e *EtcdStore) check() error {
	var errs []error
	add := func(option string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("store: %s: %w", option, err))
		}
	}
	for _, endpoint := range e.Endpoints {
		add("endpoints", validateEndpoint(endpoint))
	}
	add("prefix", validatePrefix(e.Prefix))
	add("max_staleness", validateMaxStaleness(e.MaxStaleness))
	if err := oneOf("store: mode", e.Mode, strict, static); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, e.checkTogether())...)
}

// checkTogether refuses options that lack others, or contradict them.
func (e *EtcdStore) checkTogether() error {
	if len(e.Endpoints) == 0 {
		return errors.New("store etcd needs endpoints: list the addresses of etcd's members, such as https://10.0.0.1:2379")
	}
	for _, endpoint := range e.Endpoints {
		if strings.HasPrefix(endpoint, "https://") != e.encrypted() {
			return errors.New("the endpoints of store etcd must all begin with https://, or all with http://")
		}
	}
	switch {
	case e.TLS != nil && !e.encrypted():
		return errors.New("store etcd has tls, but http endpoints: write https:// in all endpoints, or remove tls")
	case e.TLS != nil && (e.TLS.Certificate == "") != (e.TLS.Key == ""):
		return errors.New("the tls of store etcd has only one of certificate and key: give both, or neither")
	case (e.Username == "") != (e.Password == ""):
		return errors.New("store etcd has only one of username and password: give both, or neither")
	case len(e.IntegrityKeys) == 0:
		return errors.New("store etcd needs integrity_key: make one with openssl rand -hex 32, and give all gateways the same")
	case len(e.IntegrityKeys) > maxIntegrityKeys:
		return fmt.Errorf("store etcd has %d integrity keys: give one, or the new one and the old one", len(e.IntegrityKeys))
	}
	return nil
}

// validateEndpoint refuses what is not the address of a member of etcd. It does not
// repeat an address that may contain a password.
func validateEndpoint(endpoint string) error {
	if err := literal(endpoint); err != nil {
		return err
	}
	if strings.Contains(endpoint, "@") {
		return errors.New("an address must not contain a user: use username and password")
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || endpoint != u.Scheme+"://"+u.Host || !hasPort(u) {
		return fmt.Errorf("%q: want the address of a member of etcd, with http or https and a port, such as https://10.0.0.1:2379", endpoint)
	}
	return nil
}

// hasPort reports whether a URL has a host and a valid port.
func hasPort(u *url.URL) bool {
	host, port, err := net.SplitHostPort(u.Host)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	return err == nil && host != "" && notNumber == nil && number > 0
}

func validatePrefix(prefix string) error {
	if err := literal(prefix); err != nil {
		return err
	}
	if len(prefix) < 3 || !strings.HasPrefix(prefix, "/") || !strings.HasSuffix(prefix, "/") || !printable(prefix) {
		return fmt.Errorf("%q: a prefix begins and ends with a slash, has something between them, and is printable ASCII without spaces, such as %s", prefix, defaultPrefix)
	}
	return nil
}

func validateMaxStaleness(d caddy.Duration) error {
	if time.Duration(d) < minMaxStaleness {
		return fmt.Errorf("%v is too short: a gateway would refuse requests whenever etcd is slow: use %v or more", time.Duration(d), minMaxStaleness)
	}
	return nil
}

// validateIntegrityKey refuses a secret that is written out and wrong. Placeholders are
// evaluated when the configuration is loaded.
func validateIntegrityKey(key string) error {
	if strings.Contains(key, "{") {
		return nil
	}
	_, err := parseIntegrityKey(key)
	return err
}

func validateGatewayName(name string) error {
	if len(name) > 100 || !printable(name) {
		return fmt.Errorf("%q: want up to 100 printable ASCII characters without spaces", name)
	}
	return nil
}

// printable reports whether a text has only visible ASCII characters.
func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}
