package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// documents are the files of the repository that users get with the program: those that
// deploy/deb/nfpm.yaml puts into /usr/share/doc, laid out as in the repository.
var documents = []string{
	"CHANGELOG.md", "CONTRIBUTING.md", "Caddyfile.example", "LICENSE", "README.md", "SECURITY.md", "admin/openapi.yaml",
	"deploy/Caddyfile", "deploy/grafana/*", "deploy/kubernetes/*", "deploy/prometheus/*", "deploy/systemd/*",
	"docs/*.md", "docs/images/*.png", "xcaddy.json",
}

// entry is one file of an archive.
type entry struct {
	name, source string
	mode         os.FileMode
}

// archive writes the archive of one platform.
func (r *release) archive(p platform) error {
	entries, err := r.entries(p)
	if err != nil {
		return err
	}
	suffix, write := ".tar.gz", writeTar
	if p.os == "windows" {
		suffix, write = ".zip", writeZip
	}
	file, err := os.Create(r.file(p, suffix))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := write(file, entries, r.time); err != nil {
		return err
	}
	return file.Close()
}

// entries returns the files of the archive of one platform, below a directory of its own.
func (r *release) entries(p platform) ([]entry, error) {
	base := path.Base(filepath.ToSlash(r.file(p, "")))
	program := r.program(p)
	entries := []entry{{path.Join(base, filepath.Base(program)), program, 0o755}}
	patterns := append([]string{}, documents...)
	for _, made := range []string{"man/*", "completions/*/*"} {
		patterns = append(patterns, filepath.Join(stage, made))
	}
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("there is no %s", pattern)
		}
		for _, source := range found {
			name := filepath.ToSlash(source)
			if made, err := filepath.Rel(stage, source); err == nil && !strings.HasPrefix(made, "..") {
				name = filepath.ToSlash(made)
			}
			entries = append(entries, entry{path.Join(base, name), source, 0o644})
		}
	}
	return entries, nil
}

// writeTar writes a compressed tar archive in which each file has the same time.
func writeTar(to io.Writer, entries []entry, at time.Time) error {
	packed := gzip.NewWriter(to)
	archive := tar.NewWriter(packed)
	for _, e := range entries {
		content, err := os.ReadFile(e.source)
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(&tar.Header{Name: e.name, Mode: int64(e.mode), Size: int64(len(content)), ModTime: at}); err != nil {
			return err
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return packed.Close()
}

// writeZip writes a zip archive in which each file has the same time.
func writeZip(to io.Writer, entries []entry, at time.Time) error {
	archive := zip.NewWriter(to)
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: at.UTC()}
		header.SetMode(e.mode)
		file, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(e.source)
		if err != nil {
			return err
		}
		if _, err := file.Write(content); err != nil {
			return err
		}
	}
	return archive.Close()
}
