package store

import (
	"slices"

	"github.com/agiled/caddy-api-keys/internal/durable"
)

// aboutFiles are the checks whose advice is to stop, start, restart or restore.
var aboutFiles = []string{"changes", "journal", "tables", "records"}

// onlyOneAdvice leaves one advice on what to do with the server and its files: two that
// are each right alone can lose keys together. What keeps changes from being made
// goes first, for it says what a start would find; several kinds of damage mean
// that none of them can be mended from the other.
func onlyOneAdvice(findings []durable.Finding) []durable.Finding {
	first, several := -1, false
	for i, f := range findings {
		if f.Severity != durable.Fault || f.Advice != durable.AdviceRestart && !slices.Contains(aboutFiles, f.Check) {
			continue
		}
		if first < 0 {
			first = i
			continue
		}
		several, findings[i].Advice = true, ""
	}
	if several && findings[first].Check != "changes" {
		findings[first].Advice = durable.AdviceRescue
	}
	return findings
}
