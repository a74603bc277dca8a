package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/migrate"
)

// maxReported is how many lines a report has.
const maxReported = 1000

// importReport is what became of an export.
type importReport struct {
	File           string         `json:"file"`
	From           string         `json:"from"`
	DryRun         bool           `json:"dry_run"`
	Imported       int            `json:"imported"`
	Unchanged      int            `json:"unchanged"`
	Refused        int            `json:"refused"`
	LeftOut        map[string]int `json:"left_out"`         // by why
	NotCarriedOver map[string]int `json:"not_carried_over"` // keys, by what the gateway does not keep
	// Lines are the first that were refused or left out.
	Lines []importReportLine `json:"lines"`
}

// importReportLine is a key that was not imported.
type importReportLine struct {
	Line    int    `json:"line"`
	Outcome string `json:"outcome"` // refused or left_out
	Name    string `json:"name,omitzero"`
	Error   string `json:"error"`
	Code    string `json:"code,omitzero"`
	Field   string `json:"field,omitzero"`
}

func (r *importReport) refuse(line int, why *client.Error) {
	r.Refused++
	r.add(importReportLine{Line: line, Outcome: string(client.LineRefused), Error: why.Message, Code: why.Code, Field: why.Field})
}

func (r *importReport) leaveOut(entry migrate.Entry) {
	if r.LeftOut == nil {
		r.LeftOut = make(map[string]int)
	}
	r.LeftOut[entry.LeftOut]++
	r.add(importReportLine{Line: entry.Line, Outcome: "left_out", Name: entry.Key.Name, Error: entry.LeftOut})
}

func (r *importReport) lose(what []string) {
	for _, lost := range what {
		if r.NotCarriedOver == nil {
			r.NotCarriedOver = make(map[string]int)
		}
		r.NotCarriedOver[lost]++
	}
}

func (r *importReport) add(line importReportLine) {
	if len(r.Lines) < maxReported {
		r.Lines = append(r.Lines, line)
	}
}

// total returns how many keys are in the report.
func (r *importReport) total() int {
	total := r.Imported + r.Unchanged + r.Refused
	for _, n := range r.LeftOut {
		total += n
	}
	return total
}

// refusal returns the error that some keys were refused.
func (r *importReport) refusal() error {
	i := slices.IndexFunc(r.Lines, func(l importReportLine) bool { return l.Outcome == string(client.LineRefused) })
	if i < 0 {
		return fmt.Errorf("%s refused", was(r.Refused, "key"))
	}
	first := r.Lines[i]
	if r.Refused == 1 {
		return fmt.Errorf("line %d of %s was refused: %s", first.Line, r.File, first.Error)
	}
	return fmt.Errorf("%d keys of %s were refused, the first in line %d: %s", r.Refused, r.File, first.Line, first.Error)
}

// importReport prints a report.
func (t *terminal) importReport(r *importReport) error {
	if t.form == "json" {
		return t.json(r)
	}
	imported := "Imported"
	if r.DryRun {
		imported = "Would be imported"
	}
	var lines table
	lines.row(imported, strconv.Itoa(r.Imported))
	lines.row("Unchanged", strconv.Itoa(r.Unchanged))
	lines.row("Refused", strconv.Itoa(r.Refused))
	if len(r.LeftOut) > 0 {
		lines.row("Left out", counts(r.LeftOut, func(n int, why string) string { return strconv.Itoa(n) + " " + why }))
	}
	if len(r.NotCarriedOver) > 0 {
		lines.row("Not carried over", counts(r.NotCarriedOver, func(n int, what string) string { return what + " of " + plural(n, "key") }))
	}
	if err := lines.write(t.out); err != nil || len(r.Lines) == 0 {
		return err
	}
	list := table{}
	list.row("LINE", "OUTCOME", "WHY")
	for _, line := range r.Lines {
		why := line.Error
		if line.Name != "" {
			why += ": " + line.Name
		}
		list.row(strconv.Itoa(line.Line), strings.ReplaceAll(line.Outcome, "_", " "), why)
	}
	if err := say(t.out, "\n"); err != nil {
		return err
	}
	if err := list.write(t.out); err != nil || len(r.Lines) < maxReported {
		return err
	}
	return say(t.out, "There may be more: fix these, and run it again.\n")
}

// counts formats numbers by what they count.
func counts(of map[string]int, words func(int, string) string) string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, words(of[what], what))
	}
	return strings.Join(parts, ", ")
}
