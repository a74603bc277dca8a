package test

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"unicode"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// hostileText has what a terminal would obey: an escape sequence, BEL, a carriage
// return and a line feed, CSI as a C1 character, an override of the direction.
const hostileText = `\u001b[2J\u0007\r\n\u009b2J\u202eevil`

// hostileAnswer returns what fits every call, and in which each text but the token
// is hostile. Its workspace has no keys, and nothing was revoked, which makes
// commands warn.
func hostileAnswer(token string) string {
	const at = `"2026-11-29T12:00:00Z"`
	key := strings.NewReplacer("TEXT", `"`+hostileText+`"`, "AT", at).Replace(`{"id":TEXT,"workspace_id":TEXT,"name":TEXT,"owner":TEXT,"preset":TEXT,` +
		`"token_hint":TEXT,"status":TEXT,"created_at":AT,"created_by":TEXT,"expires_at":AT,"revoked_by":TEXT,"revoke_reason":TEXT,"replaces":TEXT,"replaced_by":TEXT}`)
	workspace := strings.NewReplacer("TEXT", `"`+hostileText+`"`, "AT", at).Replace(`{"id":TEXT,"suspended":true,"suspended_at":AT,"reason":TEXT,"keys":{"active":0,"expired":0,"revoked":0}}`)
	return strings.NewReplacer("TEXT", `"`+hostileText+`"`, "AT", at, "KEY", key, "TOKEN", token, "WORKSPACE", workspace).Replace(`{"key":KEY,"token":"TOKEN","replaced":KEY,"keys":[KEY],` +
		`"workspace":WORKSPACE,"workspaces":[WORKSPACE],"revoked":0,` +
		`"events":[{"id":TEXT,"at":AT,"actor":TEXT,"remote_ip":TEXT,"operation":TEXT,"workspace_id":TEXT,"key_id":TEXT,"details":{"reason":TEXT,"refused":TEXT}}],` +
		`"usage":[{"day":TEXT,"reads":1}],"suspensions":[{"workspace_id":TEXT,"suspended_at":AT,"reason":TEXT}],"next_cursor":TEXT,` +
		`"clock":{"status":TEXT,"machine":AT,"confirmed":AT,"judged":AT,"offset_seconds":1},` +
		`"findings":[{"check":TEXT,"severity":TEXT,"message":TEXT,"advice":TEXT}],"restored":{"made_at":AT},"warning":TEXT,` +
		`"propagation":{"state":TEXT,"revision":1,"gateways":1,"waited_ms":0,"behind":[TEXT]},` +
		`"fleet":{"prefix":TEXT,"gateway":TEXT,"mode":TEXT,"problem":TEXT,"lost":{"records":200,"left":200,"waiting":true},"gateways":[{"id":TEXT,"name":TEXT,"mode":TEXT,"state":TEXT,"version":TEXT,"started_at":AT}]}}`)
}

// TestCommandLine_hostileServer has a server answer every command with what a
// terminal would obey. None of it gets through, on standard output or standard
// error, in any form of output; and what is no token is not printed as one.
func TestCommandLine_hostileServer(t *testing.T) {
	t.Parallel()
	hostile := answering(t, http.StatusOK, hostileAnswer(hostileText))
	withToken := answering(t, http.StatusOK, hostileAnswer(apikey.NewToken(apikey.DefaultPrefix).Reveal()))
	const id = "key_01JD0000000000000000000000"
	commands := map[string]struct {
		args  []string
		makes bool // a token
	}{
		"create":      {args: []string{"create", "-w", "acme", "--name", "Zapier production", "--preset", "read-only"}, makes: true},
		"rotate":      {args: []string{"rotate", "-w", "acme", id}, makes: true},
		"list":        {args: []string{"list", "-w", "acme"}},
		"find":        {args: []string{"find", "--limit", "1"}},
		"workspaces":  {args: []string{"workspaces", "--limit", "1"}},
		"show":        {args: []string{"show", "-w", "acme", id}},
		"usage":       {args: []string{"usage", "-w", "acme", id}},
		"rename":      {args: []string{"rename", "-w", "acme", "--name", "Zapier staging", id}},
		"revoke":      {args: []string{"revoke", "-w", "acme", id}},
		"workspace":   {args: []string{"workspace", "-w", "acme"}},
		"revoke-all":  {args: []string{"revoke-all", "-w", "acme", "--reason", "left", "--yes"}},
		"suspend":     {args: []string{"suspend", "-w", "acme"}},
		"resume":      {args: []string{"resume", "-w", "acme"}},
		"suspensions": {args: []string{"suspensions"}},
		"audit":       {args: []string{"audit"}},
		"clock":       {args: []string{"clock"}},
		"trust":       {args: []string{"clock", "--trust", "--reason", "NTP"}},
		"doctor":      {args: []string{"doctor"}},
		"fleet":       {args: []string{"fleet", "status"}},
		"reconcile":   {args: []string{"fleet", "reconcile", "--yes"}},
	}
	for name, command := range commands {
		for _, form := range []string{"table", "json", "token"} {
			if form == "token" && !command.makes {
				continue
			}
			t.Run(name+"/"+form, func(t *testing.T) {
				printed, err := runHostile(t, hostile, form, command.args)
				if !strings.Contains(printed, "evil") {
					t.Errorf("got %q: nothing of the answer was printed", printed)
				}
				if command.makes && form != "json" && (err == nil || !strings.Contains(printed, "not a token")) {
					t.Errorf("got %v and %q, want it refused as not a token", err, printed)
				}
				if !command.makes {
					return
				}
				if printed, err := runHostile(t, withToken, form, command.args); err != nil {
					t.Errorf("got %v and %q for a token", err, printed)
				}
			})
		}
	}
}

// runHostile runs a command against a hostile server, and returns what it printed.
func runHostile(t *testing.T, address, form string, args []string) (string, error) {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := exec.Command(binary, append([]string{"api-keys", "--address", address, "-o", form}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	wantVisible(t, "standard output", stdout.String())
	wantVisible(t, "standard error", stderr.String())
	return stdout.String() + stderr.String(), err
}

// wantVisible checks that a terminal would show all of a text, and obey none of it.
func wantVisible(t *testing.T, where, text string) {
	t.Helper()
	for i, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%s has %U at %d of %q", where, r, i, text)
			return
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, string(unicode.ReplacementChar)+"2J") { // what follows its line feed
			t.Errorf("%s has a line that begins with a value: %q", where, line)
		}
	}
}
