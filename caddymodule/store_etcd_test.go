package caddymodule

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// certificate makes a certificate that is its own authority, and returns the directory
// with etcd.pem and etcd.key.
func certificate(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	replaceCertificate(t, dir)
	return dir
}

func replaceCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "etcd.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, filepath.Join(dir, "etcd.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// provisioned returns an app whose store is configured by lines of `store etcd`.
func provisioned(t *testing.T, lines string) (*App, error) {
	t.Helper()
	config, _, err := adapt([]byte("{\n\tapi_keys {\n\t\tstore etcd {\n" + lines + "\n\t\t}\n\t}\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var adapted caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &adapted); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	app := newApp()
	if err := caddy.StrictUnmarshalJSON(adapted.AppsRaw[appName], app); err != nil {
		t.Fatal(err)
	}
	return app, app.Provision(ctx)
}

func fleetOf(t *testing.T, lines string) *fleetOptions {
	t.Helper()
	app, err := provisioned(t, lines)
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	return app.fleet
}

var (
	firstKey  = strings.Repeat("a1", 32)
	secondKey = strings.Repeat("b2", 32)
)

func TestFleetOptions_defaults(t *testing.T) {
	got := fleetOf(t, "endpoints https://10.0.0.1:2379\n integrity_key "+firstKey)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got.prefix != "/api-keys/" || got.static || got.maxStaleness != 15*time.Second || got.name != host || got.username+got.password != "" {
		t.Errorf("got prefix %q, static %t, max_staleness %v, name %q, user %q; want the defaults",
			got.prefix, got.static, got.maxStaleness, got.name, got.username)
	}
	if got.tls == nil || got.tls.MinVersion != tls.VersionTLS12 || got.tls.RootCAs != nil || got.tls.InsecureSkipVerify {
		t.Error("got other TLS options, want TLS 1.2 or newer, and the authorities of the system")
	}
}

func TestFleetOptions_everything(t *testing.T) {
	dir := certificate(t)
	write(t, filepath.Join(dir, "password"), []byte("p w\n"))
	t.Setenv("FLEET_KEY", secondKey+"\n")
	got := fleetOf(t, strings.NewReplacer("DIR", dir, "FIRST", firstKey).Replace(`
		endpoints https://10.0.0.1:2379 https://10.0.0.2:2379
		prefix /eu/
		username gw
		password {file.DIR/password}
		tls DIR/etcd.pem DIR/etcd.pem DIR/etcd.key
		mode static
		max_staleness 3s
		integrity_key FIRST {env.FLEET_KEY}
		name eu-1`))
	if want := []string{"https://10.0.0.1:2379", "https://10.0.0.2:2379"}; !slices.Equal(got.endpoints, want) {
		t.Errorf("got endpoints %q, want %q", got.endpoints, want)
	}
	if got.prefix != "/eu/" || !got.static || got.maxStaleness != 3*time.Second || got.name != "eu-1" {
		t.Errorf("got prefix %q, static %t, max_staleness %v, name %q; want what is configured", got.prefix, got.static, got.maxStaleness, got.name)
	}
	if got.username != "gw" || got.password != "p w" {
		t.Errorf("got user %q with password %q, want gw with that of the file", got.username, got.password)
	}
	var keys []string
	for _, key := range got.integrityKeys {
		keys = append(keys, fmt.Sprintf("%x", key))
	}
	if want := []string{firstKey, secondKey}; !slices.Equal(keys, want) {
		t.Errorf("got integrity keys %q, want %q", keys, want)
	}
	if got.tls == nil || got.tls.RootCAs == nil || len(got.tls.Certificates) != 1 {
		t.Error("got TLS options without the authorities or the client certificate, want both")
	}
}

func TestFleetOptions_http(t *testing.T) {
	if got := fleetOf(t, "endpoints http://127.0.0.1:2379\n integrity_key "+firstKey); got.tls != nil {
		t.Error("got TLS options for http endpoints, want none")
	}
}

// A configuration that is loaded again has the files as they are then.
func TestFleetOptions_tlsFilesReplaced(t *testing.T) {
	dir := certificate(t)
	lines := strings.ReplaceAll("endpoints https://10.0.0.1:2379\n tls DIR/etcd.pem DIR/etcd.pem DIR/etcd.key\n integrity_key "+firstKey, "DIR", dir)
	before := fleetOf(t, lines)
	replaceCertificate(t, dir)
	after := fleetOf(t, lines)
	if before.tls.RootCAs.Equal(after.tls.RootCAs) {
		t.Error("got the same authorities, want those of the new file")
	}
	if slices.Equal(before.tls.Certificates[0].Certificate[0], after.tls.Certificates[0].Certificate[0]) {
		t.Error("got the same client certificate, want that of the new file")
	}
}

// A key that is not that of the certificate is refused, and both files are named.
func TestFleetOptions_tlsKeyOfAnother(t *testing.T) {
	dir, other := certificate(t), certificate(t)
	lines := fmt.Sprintf("endpoints https://10.0.0.1:2379\n tls %[1]s/etcd.pem %[1]s/etcd.pem %[2]s/etcd.key\n integrity_key %[3]s", dir, other, firstKey)
	_, err := provisioned(t, lines)
	for _, want := range []string{dir + "/etcd.pem", other + "/etcd.key", "does not match"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to contain %s", err, want)
		}
	}
}

// To validate a configuration contacts nobody, and makes no directory.
func TestFleet_validateOpensNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := listener.Accept()
		accepted <- err
	}()
	path := filepath.Join(t.TempDir(), "keys")
	config, _, err := adapt(fmt.Appendf(nil, "{\n api_keys {\n store etcd {\n endpoints http://%s\n path %s\n integrity_key %s\n }\n }\n}\n", listener.Addr(), path, firstKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(config); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	if <-accepted == nil {
		t.Error("validating contacted etcd")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("looking for %s: got %v, want it not to exist", path, err)
	}
}

// TestFleet_start: without etcd, a gateway starts and serves nobody, not even calendar feeds.
// That is no failure of its store, nor is it that what is old cannot be deleted.
func TestFleet_start(t *testing.T) {
	app, err := provisioned(t, "endpoints http://127.0.0.1:1\n path "+filepath.Join(t.TempDir(), "keys")+"\n integrity_key "+firstKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	before := sumOf(t, errorsMetric)
	if err := app.shared.Load().store.Ping(); err != error(apikey.ErrFleetJoining) {
		t.Errorf("got %v, want %v", err, apikey.ErrFleetJoining)
	}
	if _, err := app.shared.Load().store.Feed(t.Context(), apikey.NewFeedToken().Digest()); err != error(apikey.ErrFleetJoining) {
		t.Errorf("a calendar feed: got %v, want %v", err, apikey.ErrFleetJoining)
	}
	if _, err := app.shared.Load().store.Lookup(apikey.NewToken("agk").Digest()); err != error(apikey.ErrFleetJoining) {
		t.Errorf("a leaked token: got %v, want %v", err, apikey.ErrFleetJoining)
	}
	if filled, err := app.shared.Load().store.Filled(); filled || err != nil {
		t.Errorf("got filled=%t %v, want a store that has yet to be filled", filled, err)
	}
	unavailable := error(apikey.ErrFleetUnavailable)
	app.shared.Load().store.countForget(t.Context(), &unavailable)
	if got := sumOf(t, errorsMetric); got != before {
		t.Errorf("got %v failures of the store counted, want none", got-before)
	}
	if err := app.Cleanup(); err != nil {
		t.Errorf("cleaning up: got %v, want no error", err)
	}
	releaseAll()
}
