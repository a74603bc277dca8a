package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/bench/dataset"
	"github.com/agiled/caddy-api-keys/internal/fleet"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// coldStart is how a gateway starts with an empty directory.
type coldStart struct {
	keys         int
	imported     time.Duration // to move a store with the keys into etcd
	size         int           // bytes in etcd for each key with its event
	took, again  time.Duration // until it serves, and until it serves when started again
	memory, peak int           // in bytes: when it serves, and the most until then
}

// measureCold moves a store of n keys into etcd, and starts the real gateway.
func measureCold(ctx context.Context, dir, gateway string, e *etcd, n int) (c coldStart, err error) {
	dir = filepath.Join(dir, fmt.Sprintf("cold-%d", n))
	origin := filepath.Join(dir, "origin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return c, err
	}
	defer os.RemoveAll(dir)
	if _, err := dataset.Make(ctx, origin, n, dataset.PerWorkspace); err != nil {
		return c, err
	}
	c.keys = n
	before, err := e.size()
	if err != nil {
		return c, err
	}
	prefix := fmt.Sprintf("/cold-%d/", n)
	if c.imported, err = moveIn(ctx, origin, e.endpoints, prefix); err != nil {
		return c, err
	}
	after, err := e.size()
	if err != nil {
		return c, err
	}
	c.size = (after - before) / n
	config, err := writeConfig(dir, e.endpoints, prefix)
	if err != nil {
		return c, err
	}
	s, err := launch(ctx, dir, gateway, config)
	if err != nil {
		return c, err
	}
	c.took = s.took
	c.memory, c.peak, err = s.memory()
	if stopped := s.stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return c, err
	}
	if s, err = launch(ctx, dir, gateway, config); err != nil {
		return c, err
	}
	c.again = s.took
	return c, s.stop()
}

// moveIn moves a store into a fleet, and returns how long that took.
func moveIn(ctx context.Context, path string, endpoints []string, prefix string) (time.Duration, error) {
	s, err := store.OpenToMove(path)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	begun := time.Now()
	_, err = fleet.Import(ctx, fleet.Options{
		Endpoints: endpoints, Prefix: prefix, IntegrityKeys: []fleet.IntegrityKey{{1}}, MaxStaleness: 15 * time.Second,
		Name: "import", Version: "bench", Log: zap.NewNop(),
	}, s, func(string, int, int) {})
	return time.Since(begun), err
}

// size returns how many bytes etcd's data has.
func (e *etcd) size() (bytes int, err error) {
	response, err := http.Get(e.endpoints[0] + "/metrics")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var size float64
		if found, _ := fmt.Sscanf(line, "etcd_mvcc_db_total_size_in_use_in_bytes %g", &size); found == 1 {
			return int(size), nil
		}
	}
	return 0, errors.New("etcd does not say how large it is")
}

// writeConfig writes a configuration for the gateway, and returns its path.
func writeConfig(dir string, endpoints []string, prefix string) (string, error) {
	path := filepath.Join(dir, "Caddyfile")
	config := fmt.Sprintf(`{
	admin unix/%s
	api_keys {
		store etcd {
			endpoints %s
			prefix %s
			path %s
			integrity_key 01%062d
		}
	}
}
`, filepath.Join(dir, "admin.sock"), strings.Join(endpoints, " "), prefix, filepath.Join(dir, "replica"), 0)
	return path, os.WriteFile(path, []byte(config), 0o600)
}
