package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Files are the paths of PEM files.
type Files struct {
	CA        string // the authority's certificate
	Cert, Key string // a client's
	server    struct{ cert, key string }
}

// ClientTLS returns what a client needs to connect to a cluster started with TLS, and nil
// for any other.
func (c *Cluster) ClientTLS() *tls.Config {
	c.t.Helper()
	if !c.secure {
		return nil
	}
	certificate, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		c.t.Fatal(err)
	}
	ca, err := os.ReadFile(c.CA)
	if err != nil {
		c.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}}
}

func (c *Cluster) scheme() string {
	if c.secure {
		return "https://"
	}
	return "http://"
}

// serverFlags are the flags that make a member use TLS, if it is to.
func (c *Cluster) serverFlags() []string {
	if !c.secure {
		return nil
	}
	return []string{
		"--client-cert-auth", "--trusted-ca-file=" + c.CA,
		"--cert-file=" + c.server.cert, "--key-file=" + c.server.key,
	}
}

// writeCertificates makes an authority, and certificates of it for the members and for
// a client.
func writeCertificates(t testing.TB, dir string) Files {
	t.Helper()
	authority := &x509.Certificate{
		Subject: pkix.Name{Organization: []string{"etcdtest"}},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey := newKey(t)
	issue := func(name string, template *x509.Certificate, key *ecdsa.PrivateKey) (cert, keyFile string) {
		template.SerialNumber = big.NewInt(time.Now().UnixNano())
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		return writePEM(t, path+".pem", "CERTIFICATE", der), writePEM(t, path+".key", "PRIVATE KEY", private)
	}

	var files Files
	files.CA, _ = issue("ca", authority, caKey)
	files.server.cert, files.server.key = issue("server", &x509.Certificate{
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		// A member is a client of itself, too.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, newKey(t))
	// It has no name: etcd would take it for a user's.
	files.Cert, files.Key = issue("client", &x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, newKey(t))
	return files
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// writePEM writes a file of one block, and returns its path.
func writePEM(t testing.TB, path, kind string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
