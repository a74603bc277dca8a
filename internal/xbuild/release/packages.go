package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// deb writes the Debian package of one platform.
func (r *release) deb(ctx context.Context, p platform) error {
	if err := r.debianChangelog(); err != nil {
		return err
	}
	env := []string{"ARCH=" + p.arch, "VERSION=" + r.debianVersion(), "PROGRAM=" + r.program(p)}
	// With the release's version: GitHub renames files with a ~ in their name.
	to := filepath.Join(r.to, strings.Join([]string{name, r.version, p.arch}, "_")+".deb")
	return r.tool(ctx, env, "nfpm", "package", "--config", "deploy/deb/nfpm.yaml", "--packager", "deb", "--target", to)
}

// debianVersion returns the version as Debian orders it: 1.0.0-rc.1 before 1.0.0.
func (r *release) debianVersion() string { return strings.Replace(r.version, "-", "~", 1) }

// debianChangelog writes the changelog that Debian requires of a package.
func (r *release) debianChangelog() error {
	config, err := os.ReadFile("deploy/deb/nfpm.yaml")
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(string(config), "\nmaintainer: ")
	maintainer, _, ok := strings.Cut(after, "\n")
	if !ok {
		return errors.New("deploy/deb/nfpm.yaml has no maintainer")
	}
	text := fmt.Sprintf("- semver: %s\n  date: %s\n  packager: %s\n  deb: {urgency: medium, distributions: [stable]}\n  changes:\n"+
		"    - note: New version. See /usr/share/doc/caddy-api-keys/CHANGELOG.md for the changes.\n",
		r.debianVersion(), r.time.Format(time.RFC3339), maintainer)
	return os.WriteFile(filepath.Join(stage, "changelog.yml"), []byte(text), 0o644)
}

// image writes the container image, of all platforms that containers run on.
func (r *release) image(ctx context.Context) error {
	if !slices.Contains(r.formats, "image") {
		return nil
	}
	to, err := filepath.Abs(filepath.Join(r.to, name+"_"+r.version+"_image.tar"))
	if err != nil {
		return err
	}
	args := []string{"-C", "tools/image", "run", ".", "-version", r.version, "-commit", r.commit, "-time", fmt.Sprint(r.time.Unix()), "-to", to}
	for _, p := range r.platforms {
		if p.os != "linux" {
			continue
		}
		program, err := filepath.Abs(r.program(p))
		if err != nil {
			return err
		}
		args = append(args, "-program", p.String()+"="+program)
	}
	_, err = r.run(ctx, nil, "go", args...)
	return err
}

// components writes the modules that the program of one platform is made of, in the
// format of CycloneDX.
func (r *release) components(ctx context.Context, p platform) error {
	to := r.file(p, ".cdx.json")
	if err := r.tool(ctx, nil, "cyclonedx-gomod", "bin", "-json", "-std", "-noserial", "-notimestamp", "-version", "v"+r.version, "-output", to, r.program(p)); err != nil {
		return err
	}
	text, err := os.ReadFile(to)
	if err != nil {
		return err
	}
	if text, err = withoutHashes(text); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

// withoutHashes removes the hashes of the tool that listed the components: they would
// differ between machines.
func withoutHashes(text []byte) ([]byte, error) {
	var bom map[string]any
	if err := json.Unmarshal(text, &bom); err != nil {
		return nil, err
	}
	metadata, _ := bom["metadata"].(map[string]any)
	tools, _ := metadata["tools"].([]any)
	if len(tools) == 0 {
		return nil, errors.New("the list does not say which tool wrote it")
	}
	for _, tool := range tools {
		if tool, ok := tool.(map[string]any); ok {
			delete(tool, "hashes")
		}
	}
	return json.MarshalIndent(bom, "", "  ")
}

// sum writes the checksums of all files, as sha256sum does.
func (r *release) sum() error {
	files, err := r.files()
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), filepath.Base(path))
	}
	return os.WriteFile(filepath.Join(r.to, "SHA256SUMS"), []byte(sums.String()), 0o644)
}
