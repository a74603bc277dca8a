package cli

import (
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf16"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// terminal prints the answers of one command in the requested format.
type terminal struct {
	client *client.Client // nil if the command asks no server
	config []byte         // from --config, as JSON; nil if not given
	form   string         // table, json or token
	asked  string         // the form that was asked for; "" for the default
	out    io.Writer
	now    time.Time
	width  int // of the terminal; 0 without one
}

func newTerminal(cmd *cobra.Command) (*terminal, error) {
	form, from := setting(cmd, "output", outputVariable)
	if from != outputVariable {
		from = "-o" // as it is usually typed
	}
	t := &terminal{form: form, asked: form, out: cmd.OutOrStdout(), now: time.Now()}
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		t.width = width
	}
	switch t.form {
	case "table", "json":
	case "token":
		if !makesToken(cmd) {
			return nil, usagef("%s token is for commands that create a token", from)
		}
	case "":
		t.form = "json"
		if term.IsTerminal(int(os.Stdout.Fd())) {
			t.form = "table"
		}
	default:
		return nil, usagef("%s %s is not table, json or token", from, t.form)
	}
	var err error
	if t.config, err = readConfig(cmd.Flag("config").Value.String(), cmd.Flag("adapter").Value.String(), cmd.InOrStdin()); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return t, nil
}

// json prints an answer of the API as JSON.
func (t *terminal) json(answer any) error {
	encoded, err := json.Marshal(answer, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.out, "%s\n", visibleJSON(string(encoded)))
	return err
}

// visibleJSON escapes characters that JSON allows and a terminal would obey: an actor in
// the audit trail may contain any text. The JSON keeps its meaning.
func visibleJSON(encoded string) string {
	return apikey.ReplaceInvisible(encoded, func(r rune) string {
		switch {
		case r == '\n': // only ever between members
			return "\n"
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			return fmt.Sprintf(`\u%04x\u%04x`, high, low)
		}
		return fmt.Sprintf(`\u%04x`, r)
	})
}

// more prints a table, and how to see the next page.
func (t *terminal) more(list table, cursor *string) error {
	if err := list.write(t.out); err != nil || cursor == nil {
		return err
	}
	return say(t.out, "\nThere are more: --all, or --cursor %s\n", *cursor)
}
