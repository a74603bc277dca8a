package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// testRelease returns a release of two programs in a directory of their own.
func testRelease(t *testing.T) *release {
	t.Helper()
	r := &release{version: "1.2.3", commit: "4844fbd", created: time.Unix(1796000000, 0).UTC(), to: filepath.Join(t.TempDir(), "image.tar")}
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		path := filepath.Join(t.TempDir(), "caddy")
		if err := os.WriteFile(path, []byte("the program for "+platform), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.addProgram(platform + "=" + path); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// written returns the bytes of the archive of a release.
func written(t *testing.T, r *release) []byte {
	t.Helper()
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(r.to)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestWrite_sameBytesInOtherDirectories(t *testing.T) {
	if !bytes.Equal(written(t, testRelease(t)), written(t, testRelease(t))) {
		t.Error("two archives of the same programs differ")
	}
}

// The index is read as programs read it that load the archive.
func TestWrite_index(t *testing.T) {
	dir := t.TempDir()
	for _, f := range files(t, bytes.NewReader(written(t, testRelease(t)))) {
		path := filepath.Join(dir, f.header.Name)
		var err error
		if f.header.Typeflag == tar.TypeDir {
			err = os.Mkdir(path, 0o700)
		} else {
			err = os.WriteFile(path, f.content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(outer); err != nil {
		t.Fatal(err)
	}
	named, err := outer.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(named.Manifests) != 1 || named.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "caddy-api-keys:1.2.3" {
		t.Fatalf("got %+v, want one image with the name caddy-api-keys:1.2.3", named.Manifests)
	}
	inner, err := outer.ImageIndex(named.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := inner.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range manifest.Manifests {
		image, err := inner.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		file, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if of := (v1.Platform{OS: file.OS, Architecture: file.Architecture}); of.String() != m.Platform.String() {
			t.Errorf("got an image that says it is of %s, want %s", of, m.Platform)
		}
		if !reflect.DeepEqual(m.Platform, file.Platform()) || file.Config.Labels["org.opencontainers.image.revision"] != "4844fbd" {
			t.Errorf("%s: got the labels %v", m.Platform, file.Config.Labels)
		}
		got = append(got, m.Platform.String())
	}
	if want := []string{"linux/amd64", "linux/arm64"}; !slices.Equal(got, want) {
		t.Errorf("got the platforms %q, want %q", got, want)
	}
}

// Anyone who builds the image from the Dockerfile gets what the release has.
func TestDockerfile(t *testing.T) {
	r := testRelease(t)
	layer, err := r.filesystem(r.programs[0])
	if err != nil {
		t.Fatal(err)
	}
	got := dockerfile(config(nil))
	for _, f := range files(t, bytes.NewReader(layer)) {
		if path := "/" + strings.TrimSuffix(f.header.Name, "/"); f.header.Typeflag == tar.TypeReg && path != "/usr/bin/caddy-api-keys" {
			got = append(got, "COPY "+path)
		} else if f.header.Uid != 0 {
			got = append(got, fmt.Sprintf("COPY --chown=%d:%d %s", f.header.Uid, f.header.Gid, path))
		}
	}
	got = append(got, "COPY /usr/bin") // the program and its other name
	text, err := os.ReadFile(filepath.Join(root, "deploy/docker/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, last, _ := strings.Cut(string(text), "\nFROM scratch\n")
	last = regexp.MustCompile(`(?m)^#.*\n|\\\n\s*`).ReplaceAllString(last, "")
	last = regexp.MustCompile(`(?m)^COPY (?:--from=build )?(--chown=\S+ )?\S+ (\S+)$`).ReplaceAllString(last, "COPY $1$2")
	want := strings.Split(strings.TrimSpace(regexp.MustCompile(`\n+`).ReplaceAllString(last, "\n")), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the image\n%s\nthe Dockerfile\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// dockerfile returns the lines of a Dockerfile with a configuration.
func dockerfile(c v1.Config) []string {
	list := func(words []string) string {
		encoded, _ := json.Marshal(words)
		return strings.ReplaceAll(string(encoded), `","`, `", "`)
	}
	lines := []string{
		"ENV " + strings.Join(c.Env, " "), "USER " + c.User, "ENTRYPOINT " + list(c.Entrypoint), "CMD " + list(c.Cmd),
		fmt.Sprintf("HEALTHCHECK --timeout=%.0fs --start-period=%.0fm CMD %s", c.Healthcheck.Timeout.Seconds(), c.Healthcheck.StartPeriod.Minutes(), list(c.Healthcheck.Test[1:])),
	}
	for path := range c.Volumes {
		lines = append(lines, "VOLUME "+path)
	}
	return lines
}

func TestFilesystem(t *testing.T) {
	r := testRelease(t)
	layer, err := r.filesystem(r.programs[1])
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range files(t, bytes.NewReader(layer)) {
		switch f.header.Name {
		case "usr/bin/caddy-api-keys":
			found = string(f.content) == "the program for linux/arm64" && f.header.Mode == 0o755
		case "usr/bin/caddy":
			if f.header.Linkname != "caddy-api-keys" {
				t.Errorf("caddy is a link to %s", f.header.Linkname)
			}
		}
		if !f.header.ModTime.Equal(r.created) {
			t.Errorf("%s: got the time %v, want that of the release", f.header.Name, f.header.ModTime)
		}
	}
	if !found {
		t.Error("the layer has no program that can be run")
	}
}

func TestCertificates(t *testing.T) {
	if !x509.NewCertPool().AppendCertsFromPEM(certificates()) {
		t.Error("got no certificates")
	}
	if got := bytes.Count(certificates(), []byte("BEGIN CERTIFICATE")); got < 50 {
		t.Errorf("got %d certificates, want those that Mozilla trusts", got)
	}
}

// entry is one entry of a tar archive.
type entry struct {
	header  *tar.Header
	content []byte
}

func files(t *testing.T, archive io.Reader) []entry {
	t.Helper()
	var all []entry
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{header, content})
	}
}
