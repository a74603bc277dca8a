package test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCommandLine runs the scripts in testdata/cli, which read like a manual.
// Each has a server of its own, whose admin endpoint is at $ADMIN.
func TestCommandLine(t *testing.T) {
	scripts, err := filepath.Glob("testdata/cli/*.txt")
	must(t, err)
	if len(scripts) == 0 {
		t.Fatal("there are no scripts")
	}
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) {
			s := start(t, gatewayConfig)
			testscript.Run(t, testscript.Params{
				Files: []string{script},
				Setup: func(env *testscript.Env) error {
					env.Setenv("ADMIN", s.Admin)
					env.Setenv("CONFIG", filepath.Join(s.dir, "Caddyfile"))
					env.Setenv("NOWHERE", freeAddress(t))
					env.Setenv("PATH", filepath.Dir(binary)+":"+os.Getenv("PATH"))
					env.Setenv("XDG_CONFIG_HOME", env.WorkDir)
					env.Setenv("XDG_DATA_HOME", env.WorkDir)
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"status": exitStatus,
				},
				RequireExplicitExec: true,
				RequireUniqueNames:  true,
			})
		})
	}
}

// exitStatus runs a command and checks its exit status: status COMMAND N.
func exitStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: status 'command' N")
	}
	words := strings.Fields(args[0])
	err := ts.Exec(words[0], words[1:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	}
	if want := args[1]; strconv.Itoa(got) != want {
		ts.Fatalf("%s: got exit status %d, want %s", args[0], got, want)
	}
}
