package store

import (
	"slices"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// rescue is the advice where a start could build nothing from what is left, and the
// process that runs still has everything.
const rescue = "Take a backup now, and do not stop the server before: it would not start again. Then stop it, move what is left of the store away, restore the backup into an empty directory, and start it."

// aboutFiles are the checks whose advice is to stop, start, restart or restore.
var aboutFiles = []string{"changes", "journal", "tables", "records"}

// onlyOneAdvice leaves one advice on what to do with the server and its files: two that
// are each right alone can lose keys together. What keeps changes from being made
// goes first, for it says what a start would find; several kinds of damage mean
// that none of them can be mended from the other.
func onlyOneAdvice(findings []apikey.Finding) []apikey.Finding {
	first, several := -1, false
	for i, f := range findings {
		if f.Severity != apikey.Fault || f.Advice != restart && !slices.Contains(aboutFiles, f.Check) {
			continue
		}
		if first < 0 {
			first = i
			continue
		}
		several, findings[i].Advice = true, ""
	}
	if several && findings[first].Check != "changes" {
		findings[first].Advice = rescue
	}
	return findings
}
