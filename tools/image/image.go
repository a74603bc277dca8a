package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	name   = "caddy-api-keys"
	source = "https://github.com/agiled/caddy-api-keys"
)

// write writes the archive with the images of all platforms.
func (r *release) write() error {
	dir, err := os.MkdirTemp("", "caddy-api-keys-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	index, err := r.index()
	if err != nil {
		return err
	}
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	// Programs that load the archive name the image after these; to Docker, the second one
	// is short for the first.
	names := layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          "docker.io/library/" + name + ":" + r.version,
		"org.opencontainers.image.ref.name": name + ":" + r.version,
	})
	if err := to.AppendIndex(index, names); err != nil {
		return err
	}
	archive, err := os.Create(r.to)
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := r.pack(archive, dir); err != nil {
		return err
	}
	return archive.Close()
}

// pack writes the files of a directory to an archive.
func (r *release) pack(to io.Writer, dir string) error {
	archive := newArchive(to, r.created)
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return archive.directory(filepath.ToSlash(name), 0)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return archive.file(filepath.ToSlash(name), content, 0o644)
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

// index returns the images of all platforms.
func (r *release) index() (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range r.programs {
		image, err := r.image(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &p.platform}})
	}
	return mutate.Annotations(index, r.annotations()).(v1.ImageIndex), nil
}

// image returns the image of one platform.
func (r *release) image(p program) (v1.Image, error) {
	content, err := r.filesystem(p)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: r.created}, CreatedBy: source + "/tree/main/tools/image"},
	})
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Created = v1.Time{Time: r.created}
	file.OS, file.Architecture = p.platform.OS, p.platform.Architecture
	file.Config = config(r.annotations())
	image, err = mutate.ConfigFile(image, file)
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(image, r.annotations()).(v1.Image), nil
}

// config returns how the image runs. A test holds it equal to that of deploy/docker/Dockerfile.
func config(labels map[string]string) v1.Config {
	const program, caddyfile = "/usr/bin/caddy-api-keys", "/etc/caddy-api-keys/Caddyfile"
	return v1.Config{
		User:       "65532:65532",
		Env:        []string{"XDG_DATA_HOME=/var/lib/caddy-api-keys", "XDG_CONFIG_HOME=/var/lib/caddy-api-keys"},
		Entrypoint: []string{program},
		Cmd:        []string{"run", "--config", caddyfile},
		Volumes:    map[string]struct{}{"/var/lib/caddy-api-keys": {}},
		// No part of OCI's format, but Docker heeds it.
		Healthcheck: &v1.HealthConfig{
			Test:        []string{"CMD", program, "api-keys", "audit", "--limit", "1", "--config", caddyfile},
			Timeout:     5 * time.Second,
			StartPeriod: 10 * time.Minute,
		},
		Labels: labels,
	}
}

// annotations returns what the image says about itself.
func (r *release) annotations() map[string]string {
	about := map[string]string{
		"org.opencontainers.image.title":    name,
		"org.opencontainers.image.version":  r.version,
		"org.opencontainers.image.source":   source,
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.created":  r.created.Format(time.RFC3339),
	}
	if r.commit != "" {
		about["org.opencontainers.image.revision"] = r.commit
	}
	return about
}

// archive writes a tar archive in which every entry has the same time.
type archive struct {
	*tar.Writer
	time time.Time
}

func newArchive(to io.Writer, at time.Time) *archive { return &archive{tar.NewWriter(to), at} }

func (a *archive) directory(name string, owner int) error {
	return a.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, Uid: owner, Gid: owner, ModTime: a.time})
}

func (a *archive) file(name string, content []byte, mode int64) error {
	if err := a.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: a.time}); err != nil {
		return err
	}
	_, err := a.Write(content)
	return err
}

func (a *archive) link(name, target string) error {
	return a.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: a.time})
}
