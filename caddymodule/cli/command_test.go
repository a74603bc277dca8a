package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// A line that is indented by less than four spaces is run into the one before it in a
// manual page.
func TestCommands_manual(t *testing.T) {
	group := &cobra.Command{Use: "api-keys"}
	addCommands(group, nil)
	shallow := regexp.MustCompile(`(?m)^ {1,3}\S`)
	lists := 0
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if line := shallow.FindString(cmd.Long); line != "" {
			t.Errorf("%s: the list in its description is indented by less than four spaces", cmd.Name())
		}
		if strings.Contains(cmd.Long, "\n    ") {
			lists++
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(group)
	if lists == 0 {
		t.Error("no command has a list: what is tested?")
	}
}
