package caddymodule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/assertion"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// parseAssertion parses the option assertion of api_key_auth. Syntax:
//
//	assertion {
//	    issuer       <issuer>
//	    audience     <audience>
//	    lifetime     <duration>
//	    header       <name>
//	    jwks_path    <path>
//	    rotate_every <duration>
//	    bind         none|request
//	}
func parseAssertion(d *caddyfile.Dispenser, into **Assertion) error {
	if err := onlyBlock(d); err != nil {
		return err
	}
	start, a := *d, new(Assertion)
	if err := parseBlock(d, "assertion", options{
		"issuer":       text(d, &a.Issuer, "<issuer>", validateParty),
		"audience":     text(d, &a.Audience, "<audience>", validateParty),
		"lifetime":     durationWithin(d, &a.Lifetime, validateLifetime),
		"header":       text(d, &a.Header, "<name>", validateAssertionHeader),
		"jwks_path":    text(d, &a.JWKSPath, "<path>", validateJWKSPath),
		"rotate_every": durationWithin(d, &a.RotateEvery, validateRotateEvery),
		"bind":         choice(d, &a.Bind, bindNone, bindRequest),
	}); err != nil {
		return err
	}
	*into = a
	return located(&start, "assertion", a.checkParties())
}

// durationWithin parses a line with a duration that is valid.
func durationWithin(d *caddyfile.Dispenser, into *caddy.Duration, validate func(time.Duration) error) func() error {
	parse := duration(d, into)
	return func() error {
		name := d.Val()
		if err := parse(); err != nil {
			return err
		}
		return located(d, name, validate(time.Duration(*into)))
	}
}

// encryptionKeys parses a line with one secret or two.
func encryptionKeys(d *caddyfile.Dispenser, into *[]string) func() error {
	return func() error {
		name := d.Val()
		*into = d.RemainingArgs()
		if n := len(*into); n < 1 || n > maxEncryptionKeys {
			return d.Err("encryption_key takes one secret, or the new one and the old one: encryption_key {env.API_KEYS_ENCRYPTION_KEY}")
		}
		for _, key := range *into {
			if strings.Contains(key, "{") { // a placeholder, which is evaluated when the configuration is loaded
				continue
			}
			if _, err := assertion.ParseSecret(key); err != nil {
				return located(d, name, err)
			}
		}
		return nil
	}
}

// checkParties refuses an assertion that says not by whom or for whom it is.
func (a *Assertion) checkParties() error {
	switch {
	case a.Issuer == "":
		return errors.New("it needs an issuer, which upstreams compare: issuer https://api.example.com")
	case a.Audience == "":
		return errors.New("it needs an audience, the name of the upstream that it is for: audience contacts")
	}
	return nil
}

// check refuses values that a JSON configuration can have and a Caddyfile cannot.
func (a *Assertion) check() error {
	err := a.checkParties()
	for _, option := range []struct {
		name string
		err  error
	}{
		{"issuer", validateParty(a.Issuer)}, {"audience", validateParty(a.Audience)},
		{"lifetime", validateLifetime(time.Duration(a.Lifetime))}, {"header", validateAssertionHeader(a.Header)},
		{"jwks_path", validateJWKSPath(a.JWKSPath)}, {"bind", oneOf("bind", a.Bind, bindNone, bindRequest)},
	} {
		if err == nil && option.err != nil {
			err = fmt.Errorf("%s: %w", option.name, option.err)
		}
	}
	if err == nil && a.RotateEvery != 0 {
		if err = validateRotateEvery(time.Duration(a.RotateEvery)); err != nil {
			err = fmt.Errorf("rotate_every: %w", err)
		}
	}
	return err
}

// validateParty refuses an issuer or an audience that is neither a name nor a URI.
func validateParty(name string) error {
	if err := literal(name); err != nil {
		return err
	}
	if len(name) > 200 || !printable(name) {
		return fmt.Errorf("%q: want a name or a URI, of up to 200 printable ASCII characters without spaces", name)
	}
	return nil
}

func validateLifetime(lifetime time.Duration) error {
	if lifetime < time.Second || lifetime > identity.MaxLifetime || lifetime%time.Second != 0 {
		return fmt.Errorf("%s: want 1s to 60s, in whole seconds: upstreams refuse what lives longer", lifetime)
	}
	return nil
}

func validateRotateEvery(every time.Duration) error {
	if every < minRotateEvery || every > maxRotateEvery {
		return fmt.Errorf("%s: want 1m to 400d", every)
	}
	return nil
}

func validateAssertionHeader(name string) error {
	if strings.EqualFold(name, identity.AssertionHeader) {
		return nil
	}
	return validateHeader(name)
}

func validateJWKSPath(path string) error {
	if err := literal(path); err != nil {
		return err
	}
	if authn.ValidateReadPath(path) != nil || strings.HasSuffix(path, "*") {
		return fmt.Errorf("%q: want one clean path, such as %s", path, defaultJWKSPath)
	}
	return nil
}
