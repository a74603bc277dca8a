package test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// TestRunbook_sections verifies that each alert has its section, with the same five
// questions, and that there is no other.
func TestRunbook_sections(t *testing.T) {
	t.Parallel()
	sections := strings.Split(documents(t)["docs/runbook.md"], "\n## ")[1:]
	var got, want []string
	for _, section := range sections {
		name, text, _ := strings.Cut(section, "\n")
		got = append(got, name)
		for _, question := range []string{"What happened.", "Impact.", "Check", "Fix", "False alarm"} {
			if !strings.Contains(text, "\n**"+question) {
				t.Errorf("%s does not say %q", name, question)
			}
		}
	}
	for _, a := range alerts(t) {
		want = append(want, a.Alert)
	}
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("got sections on %q, want %q", got, want)
	}
}

// loggedConfig writes the access log as docs/observability.md has it, and once
// more for the console.
const loggedConfig = `{
	admin {{.Admin}}
	grace_period 5s
	api_keys {
		store badger {
			path {{.Store}}
		}
		last_used_resolution 1s
	}
}
http://{{.Plain}} {
	log {
		output file access.log
	}
	log console {
		output file console.log
		format console
	}
	log_append request_id {http.request.uuid}
	header X-Request-ID {http.request.uuid}
	api_key_auth {
		rate_limit read 2 1h
	}
	reverse_proxy {{.Upstream}}
}
`

// TestObservability_commands runs the commands of the documents that read the
// access log. Each finds something: a misspelled field would find nothing.
func TestObservability_commands(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "jq")
	s := start(t, loggedConfig)
	must(t, os.Symlink(binary, filepath.Join(s.Dir, "caddy")))
	life := "12h"
	made, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{
		Name: "Warehouse sync", Owner: "Ops", Preset: "full_access", ExpiresIn: &life})
	must(t, err)
	bearer := []string{"Authorization", "Bearer " + made.Token}
	c := s.Clients(t)[0]
	for range 3 { // one of them over the limit
		c.Send(t, "GET", "/public/v1/contacts", nil, bearer...)
	}
	_, expired := s.CreateExpired(t)
	c.Send(t, "GET", "/public/v1/contacts", nil, "Authorization", "Bearer "+expired)
	c.Send(t, "GET", "/public/v1/contacts", nil, append(bearer, "Sec-Fetch-Site", "cross-site", "Origin", "https://app.example")...)
	id := c.Send(t, "GET", "/public/v1/contacts", nil).Header.Get("X-Request-ID")
	s.Await("the last line of the access log", func() bool {
		text, _ := os.ReadFile(filepath.Join(s.Dir, "access.log"))
		return id != "" && strings.Contains(string(text), id)
	})
	s.Await("the key's last use", func() bool {
		shown, err := s.Keys().ShowKey(t.Context(), "acme", made.Key.ID)
		must(t, err)
		return shown.LastUsedAt != nil
	})

	actual := strings.NewReplacer(
		"/var/log/caddy-api-keys/", "", "unix//run/caddy-api-keys/admin.sock", s.Admin,
		"key_01M85PQ3XS81JPNQQHZNQRAPZ3", made.Key.ID,
		"ec2fe5a1-e081-4032-bdff-6cb01daf5aba", id)
	ran := 0
	for path, text := range documents(t) {
		for _, command := range logCommands(text) {
			ran++
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", actual.Replace(command))
			cmd.Dir, cmd.Env = s.Dir, append(os.Environ(), "PATH="+s.Dir+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			cancel()
			if err != nil || len(strings.TrimSpace(string(out))) == 0 {
				t.Errorf("%s: got %v, and:\n%s\nof:\n%s", path, err, out, command)
			}
		}
	}
	if ran == 0 {
		t.Error("no document reads the access log")
	}
}

// logCommands returns the blocks of shell that read the log which loggedConfig
// writes.
func logCommands(text string) (commands []string) {
	block := regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")
	for _, found := range block.FindAllStringSubmatch(text, -1) {
		if strings.Contains(found[1], "/var/log/caddy-api-keys/") && strings.Contains(found[1], "jq ") {
			commands = append(commands, found[1])
		}
	}
	return commands
}
