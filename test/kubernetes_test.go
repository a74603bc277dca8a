package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKubernetes verifies that the Caddyfile in the manifest for Kubernetes is one that the
// gateway takes. The rest of the manifest is checked by make kubernetes.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	manifest, err := os.ReadFile("../deploy/kubernetes/fleet.yaml")
	must(t, err)
	_, rest, found := strings.Cut(string(manifest), "\n  Caddyfile: |\n")
	text, _, ends := strings.Cut(rest, "\n---\n")
	if !found || !ends {
		t.Fatal("there is no Caddyfile in the manifest")
	}
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimPrefix(line, "    "))
	}
	s := newServer(t)
	s.Env = []string{"ETCD_PASSWORD=x", "API_KEYS_FLEET_KEY=" + strings.Repeat("a1", 32), "POD_NAME=api-keys-0"}
	// The certificate is mounted in the pod.
	config := strings.NewReplacer("tls /etc/etcd/ca.crt\n", "", "API-SERVICE", "api").Replace(strings.Join(lines, ""))
	file := filepath.Join(s.Dir, "Caddyfile")
	must(t, os.WriteFile(file, []byte(config), 0o600))
	if out, err := s.Command("adapt", "--validate", "--config", file).CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s\n%s", err, config, out)
	}
}
