// Package testenv gives tests what they need besides Go: other programs, npm packages,
// and their own binary in a process that can be killed.
//
// A test that needs a program or a package asks for it. If it is not installed, the
// test is skipped, saying how to install it, or fails if API_KEYS_TESTS=all is set.
package testenv

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Variable is the environment variable that turns skips into failures when it
// is set to "all".
const Variable = "API_KEYS_TESTS"

// A program is one that tests may run.
type program struct {
	names   []string // its possible names; the first one found is used
	install string   // the Debian package that has it
}

var programs = map[string]program{
	// The first is the same browser without a window, which takes half the processor time.
	// Debian's script of that name does not end it when the script is killed.
	"chromium":   {[]string{"/usr/lib/chromium/chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"}, "chromium-headless-shell"},
	"curl":       {[]string{"curl"}, "curl"},
	"etcd":       {[]string{"/usr/bin/etcd"}, "etcd-server"}, // Debian's, not a newer one
	"firefox":    {[]string{"firefox-esr", "firefox"}, "firefox-esr"},
	"gcc":        {[]string{"gcc"}, "gcc"},
	"hypercorn":  {[]string{"hypercorn"}, "python3-hypercorn"},
	"icalendar":  {[]string{"icalendar"}, "python3-icalendar"},
	"java":       {[]string{"java"}, "default-jdk-headless"},
	"javac":      {[]string{"javac"}, "default-jdk-headless"},
	"jq":         {[]string{"jq"}, "jq"},
	"nginx":      {[]string{"nginx", "/usr/sbin/nginx"}, "nginx-light"},
	"node":       {[]string{"node", "nodejs"}, "nodejs"},
	"prometheus": {[]string{"prometheus"}, "prometheus"},
	"promtool":   {[]string{"promtool"}, "prometheus"},
	"openssl":    {[]string{"openssl"}, "openssl"},
	"python3":    {[]string{"python3"}, "python3"},
	"spin":       {[]string{"spin"}, "spin"},
}

// JavaFlags are for programs that end soon: they have Java compile them once, and not well,
// and collect garbage in one thread. That halves the processor time that they take.
var JavaFlags = []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}

// Tool returns the path of the program called name, which must be one that this package
// knows. It ends the test if the program is not installed.
func Tool(t testing.TB, name string) string {
	t.Helper()
	p, ok := programs[name]
	if !ok {
		known := slices.Sorted(maps.Keys(programs))
		t.Fatalf("testenv: no program %q, only %s", name, strings.Join(known, ", "))
	}
	for _, n := range p.names {
		if path, err := exec.LookPath(n); err == nil {
			return path
		}
	}
	Lacks(t, name+": apt-get install "+p.install)
	return ""
}

// Lacks ends a test that cannot run because something other than a program is missing.
func Lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv(Variable) == "all" {
		t.Fatalf("needs %s (%s=all lets nothing be skipped)", what, Variable)
	}
	t.Skipf("needs %s", what)
}
