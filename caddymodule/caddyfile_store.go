package caddymodule

import (
	"maps"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// parseStore parses the option store of api_keys. Syntax:
//
//	store badger {
//	    path       <directory>
//	    cache_size <keys>
//	}
//
//	store etcd {
//	    endpoints     <address...>
//	    prefix        <prefix>
//	    username      <name>
//	    password      <placeholder>
//	    tls           <ca> [<certificate> <key>]
//	    path          <directory>
//	    cache_size    <keys>
//	    mode          strict|static
//	    max_staleness <duration>
//	    integrity_key <placeholder> [<placeholder>]
//	    name          <name>
//	}
func parseStore(d *caddyfile.Dispenser, store *Store) error {
	if !d.AllArgs(&store.Module) {
		return d.Err("store needs the kind of store: write store badger or store etcd")
	}
	if err := oneOf("store", store.Module, badgerStore, etcdStore); err != nil {
		return d.WrapErr(err)
	}
	known := options{
		"path":       text(d, &store.Path, "<directory>", nil),
		"cache_size": number(d, &store.CacheSize),
	}
	if store.Module == badgerStore {
		return parseBlock(d, "store badger", known)
	}
	start := *d
	maps.Copy(known, etcdOptions(d, &store.EtcdStore))
	if err := parseBlock(d, "store etcd", known); err != nil {
		return err
	}
	return located(&start, "", store.checkTogether())
}

// etcdOptions are those that only a store in etcd has.
func etcdOptions(d *caddyfile.Dispenser, e *EtcdStore) options {
	return options{
		"endpoints":     list(d, &e.Endpoints, "<address...>", validateEndpoint),
		"prefix":        text(d, &e.Prefix, "<prefix>", validatePrefix),
		"username":      text(d, &e.Username, "<name>", nil),
		"password":      text(d, &e.Password, "<placeholder>", nil),
		"tls":           tlsFiles(d, &e.TLS),
		"mode":          choice(d, &e.Mode, strict, static),
		"max_staleness": maxStaleness(d, &e.MaxStaleness),
		"integrity_key": integrityKeys(d, &e.IntegrityKeys),
		"name":          text(d, &e.Name, "<name>", nil),
	}
}

// tlsFiles parses a line with one file, or with three.
func tlsFiles(d *caddyfile.Dispenser, into **EtcdTLS) func() error {
	return func() error {
		files := d.RemainingArgs()
		switch len(files) {
		case 1:
			*into = &EtcdTLS{CA: files[0]}
		case 3:
			*into = &EtcdTLS{CA: files[0], Certificate: files[1], Key: files[2]}
		default:
			return d.Err("tls takes the certificates of the authorities, and optionally a client certificate and its key: tls ca.pem client.pem client.key")
		}
		return nil
	}
}

// maxStaleness parses a line with a duration that is long enough.
func maxStaleness(d *caddyfile.Dispenser, into *caddy.Duration) func() error {
	return func() error {
		name, value := d.Val(), ""
		if !d.AllArgs(&value) {
			return d.Errf("%s takes one duration, such as %s 15s", name, name)
		}
		if err := literal(value); err != nil {
			return located(d, name, err)
		}
		parsed, err := caddy.ParseDuration(value)
		if err != nil {
			return d.Errf("%s: %q is not a duration, such as 15s", name, value)
		}
		*into = caddy.Duration(parsed)
		return located(d, name, validateMaxStaleness(*into))
	}
}

// integrityKeys parses a line with one secret or two.
func integrityKeys(d *caddyfile.Dispenser, into *[]string) func() error {
	return func() error {
		name := d.Val()
		*into = d.RemainingArgs()
		if n := len(*into); n < 1 || n > maxIntegrityKeys {
			return d.Err("integrity_key takes one secret, or the new one and the old one: integrity_key {env.API_KEYS_FLEET_KEY}")
		}
		for _, key := range *into {
			if err := validateIntegrityKey(key); err != nil {
				return located(d, name, err)
			}
		}
		return nil
	}
}
