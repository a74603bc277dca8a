// Command image writes the container image of a release: an OCI layout in a tar archive,
// for all platforms. It needs no container runtime and no registry: the image has no base,
// and its root certificates are those of Mozilla, in the version that go.sum pins. The same
// arguments give the same bytes.
//
// It runs from its own directory:
//
//	go run . -version 1.2.3 -program linux/amd64=PATH -program linux/arm64=PATH -to PATH
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// root is the root of the repository, from the directory of this program.
const root = "../.."

func main() {
	var r release
	flag.StringVar(&r.version, "version", "", "version of the gateway")
	flag.StringVar(&r.commit, "commit", "", "commit that it was built from")
	created := flag.Int64("time", 0, "seconds since 1970 of the commit, which becomes the time of the image")
	flag.StringVar(&r.to, "to", "", "path of the archive to write")
	flag.Func("program", "platform and path of a program, as in linux/amd64=dist/caddy; one for each platform", r.addProgram)
	flag.Parse()
	r.created = time.Unix(*created, 0).UTC()
	if flag.NArg() > 0 || r.version == "" || r.to == "" || len(r.programs) == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := r.write(); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// release is what an image is made of.
type release struct {
	version, commit string
	created         time.Time
	programs        []program
	to              string
}

// program is the gateway of one platform.
type program struct {
	platform v1.Platform
	path     string
}

// addProgram adds a program that is given as platform=path.
func (r *release) addProgram(arg string) error {
	name, path, ok := strings.Cut(arg, "=")
	if !ok || path == "" {
		return fmt.Errorf("want PLATFORM=PATH")
	}
	platform, err := v1.ParsePlatform(name)
	if err != nil {
		return err
	}
	r.programs = append(r.programs, program{platform: *platform, path: path})
	return nil
}
