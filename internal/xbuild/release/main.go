// Command release builds what users install without building: archives and packages of
// the gateway for every platform, the container image, what they are made of, and their
// checksums. It runs from the root of the repository:
//
//	go run ./internal/xbuild/release
//
// VERSION, COMMIT and SOURCE_DATE_EPOCH, the time of the commit, say what is released.
// The same commit, built with the same version of Go, gives the same bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/internal/xbuild/gobuild"
)

// name is that of the program where it is installed, and begins the names of the files.
const name = "caddy-api-keys"

// stage is the directory of what the files are made of, which deploy/deb/nfpm.yaml names too.
const stage = "dist/stage"

// A platform is an operating system and an architecture, in the words of Go.
type platform struct{ os, arch string }

// supported are the platforms of a release. The tests run on the first two alone.
var supported = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}}

func (p platform) String() string { return p.os + "/" + p.arch }

// release is what is built, and where.
type release struct {
	version   string // as in 1.2.3-rc.1
	commit    string
	time      time.Time // of the commit: that of every file
	platforms []platform
	formats   []string
	to        string // the directory of the files
	progress  *gobuild.Progress
}

// formats are the kinds of files of a release.
var formats = []string{"archive", "sbom", "deb", "image"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := release{progress: gobuild.NewProgress(os.Stderr), platforms: supported, formats: formats}
	flag.StringVar(&r.to, "to", "dist/release", "directory to write the files to, in place of those of another release")
	flag.Func("platforms", "platforms to build for, as in linux/amd64,linux/arm64 (default: all)", r.setPlatforms)
	flag.Func("formats", "formats to write, of "+strings.Join(formats, ", ")+" (default: all)", r.setFormats)
	flag.Parse()
	err := r.fromEnvironment()
	if err == nil {
		err = r.build(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func (r *release) setPlatforms(list string) error {
	r.platforms = nil
	for word := range strings.SplitSeq(list, ",") {
		system, arch, ok := strings.Cut(word, "/")
		if !ok {
			return errors.New("want platforms such as linux/amd64")
		}
		r.platforms = append(r.platforms, platform{system, arch})
	}
	return nil
}

func (r *release) setFormats(list string) error {
	r.formats = strings.Split(list, ",")
	for _, format := range r.formats {
		if !slices.Contains(formats, format) {
			return fmt.Errorf("there is no format %q", format)
		}
	}
	return nil
}

// versionForm is that of Semantic Versioning, without metadata of the build.
var versionForm = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func (r *release) fromEnvironment() error {
	r.version, r.commit = os.Getenv("VERSION"), os.Getenv("COMMIT")
	if !versionForm.MatchString(r.version) {
		return fmt.Errorf("VERSION is %q, want one such as 1.2.3", r.version)
	}
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH is %q, want the seconds since 1970 of the commit", os.Getenv("SOURCE_DATE_EPOCH"))
	}
	r.time = time.Unix(seconds, 0).UTC()
	return nil
}

// build builds all files of the release.
func (r *release) build(ctx context.Context) error {
	if err := r.clear(); err != nil {
		return err
	}
	for _, p := range r.platforms {
		if err := r.compile(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	if err := r.describe(ctx); err != nil {
		return fmt.Errorf("writing the manual pages and completions: %w", err)
	}
	for _, p := range r.platforms {
		fmt.Fprintf(os.Stderr, "%s: packing\n", p)
		if err := r.pack(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	if slices.Contains(r.formats, "image") {
		fmt.Fprintln(os.Stderr, "making the container image")
	}
	if err := r.image(ctx); err != nil {
		return fmt.Errorf("making the image: %w", err)
	}
	if err := r.sum(); err != nil {
		return err
	}
	made, err := r.files()
	for _, path := range made {
		fmt.Fprintln(os.Stderr, "made", path)
	}
	return err
}

// clear makes the directories, and removes what an earlier release left there.
func (r *release) clear() error {
	if err := os.RemoveAll(stage); err != nil {
		return err
	}
	for _, dir := range []string{stage, r.to} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	old, err := r.files()
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// files returns the paths of the files of a release that are there, in their order.
func (r *release) files() ([]string, error) { return filepath.Glob(filepath.Join(r.to, name+"_*")) }

// pack writes the files of one platform.
func (r *release) pack(ctx context.Context, p platform) error {
	if slices.Contains(r.formats, "archive") {
		if err := r.archive(p); err != nil {
			return fmt.Errorf("making the archive: %w", err)
		}
	}
	if slices.Contains(r.formats, "sbom") {
		if err := r.components(ctx, p); err != nil {
			return fmt.Errorf("listing what the program is made of: %w", err)
		}
	}
	if p.os == "linux" && slices.Contains(r.formats, "deb") {
		if err := r.deb(ctx, p); err != nil {
			return fmt.Errorf("making the Debian package: %w", err)
		}
	}
	return nil
}

// program returns the path of the program for a platform.
func (r *release) program(p platform) string {
	path := filepath.Join(stage, p.os+"_"+p.arch, name)
	if p.os == "windows" {
		path += ".exe"
	}
	return path
}

// file returns the path of a file of the release.
func (r *release) file(p platform, suffix string) string {
	return filepath.Join(r.to, strings.Join([]string{name, r.version, p.os, p.arch}, "_")+suffix)
}

// compile builds the program for a platform, from ./cmd/caddy: its modules are those
// whose checksums are in go.sum.
func (r *release) compile(ctx context.Context, p platform) error {
	begun := time.Now()
	fmt.Fprintf(os.Stderr, "%s: building %s %s\n", p, name, r.version)
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", "-pgo=auto",
		"-ldflags="+gobuild.LinkerFlags(r.version, r.commit), "-o", r.program(p), "./cmd/caddy")
	// Nothing of the caller's environment may change the program.
	cmd.Env = append(os.Environ(), "GOOS="+p.os, "GOARCH="+p.arch, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off", "GOAMD64=v1", "GOARM64=v8.0")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := gobuild.Run(cmd, "github.com/agiled/caddy-api-keys/cmd/caddy", r.progress); err != nil {
		return fmt.Errorf("building: %w", err)
	}
	fmt.Fprintf(os.Stderr, "%s: built in %s\n", p, time.Since(begun).Round(time.Second))
	return nil
}

// host is the platform of this machine.
var host = platform{runtime.GOOS, runtime.GOARCH}

// run runs a command of the release, whose output is shown if it fails.
func (r *release) run(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "GOWORK=off", fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()))
	cmd.Env = append(cmd.Env, env...)
	var printed strings.Builder
	cmd.Stderr = &printed
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s%s", cmd, err, out, printed.String())
	}
	return out, nil
}

// tool runs a tool that tools/go.mod pins.
func (r *release) tool(ctx context.Context, env []string, name string, args ...string) error {
	_, err := r.run(ctx, env, "go", append([]string{"tool", "-modfile=tools/go.mod", name}, args...)...)
	return err
}
