package store

import (
	"slices"

	"github.com/agiled/caddy-api-keys/internal/doctor"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// aboutFiles are the checks that may advise to stop, start, restart or restore.
var aboutFiles = []string{"changes", "journal", "tables", "records"}

// onlyOneAdvice keeps one piece of advice about the server and its files: two that are
// right individually can lose keys together. Advice about what prevents changes takes
// precedence, because it predicts what a start would find. If several things are
// damaged, none of them can be repaired from the others.
func onlyOneAdvice(findings []doctor.Finding) []doctor.Finding {
	first, several := -1, false
	for i, f := range findings {
		if f.Severity != doctor.Fault || f.Advice != durable.AdviceRestart && !slices.Contains(aboutFiles, f.Check) {
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
