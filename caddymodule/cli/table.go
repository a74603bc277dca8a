package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rivo/uniseg"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// table prints rows of cells in columns. Its cells are made visible: none can
// move the cursor. It measures text as terminals do, where 東 takes two places.
type table struct {
	rows [][]string
	// fit is how wide a row may be; 0 is as wide as it gets.
	fit int
	// optional are the columns that are left out, the last first, where a row
	// would be too wide.
	optional []int
	// shorten are the columns that are cut where a row would be too wide.
	shorten []int
}

const (
	tableGap = 2  // between columns
	leastCut = 12 // nothing is cut to less than this
	readable = 24 // optional columns are left out before others are cut to less
)

func (t *table) row(cells ...string) {
	visibly := make([]string, len(cells))
	for i, cell := range cells {
		visibly[i] = apikey.Visible(cell)
	}
	t.rows = append(t.rows, visibly)
}

// write prints the table.
func (t *table) write(w io.Writer) error {
	t.leaveOut()
	widths := t.widths()
	var text strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			cell = cut(cell, widths[i])
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-uniseg.StringWidth(cell)+tableGap))
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// leaveOut removes optional columns: those that are empty, and then one after the
// other until the rest fits.
func (t *table) leaveOut() {
	for _, column := range slices.Backward(t.optional) {
		if t.empty(column) || t.fit > 0 && t.leastWidth() > t.fit {
			for i, row := range t.rows {
				t.rows[i] = slices.Delete(row, column, column+1)
			}
		}
	}
}

// empty reports whether a column has nothing but its heading.
func (t *table) empty(column int) bool {
	return !slices.ContainsFunc(t.rows[1:], func(row []string) bool { return row[column] != "" })
}

// leastWidth returns how wide a row is when all that may be cut is, and can be
// read.
func (t *table) leastWidth() int {
	total := 0
	for i, width := range t.fullWidths() {
		if slices.Contains(t.shorten, i) {
			width = min(width, readable)
		}
		total += width + tableGap
	}
	return total - tableGap
}

// widths returns how wide each column is to be.
func (t *table) widths() []int {
	widths := t.fullWidths()
	total := tableGap * (len(widths) - 1)
	for _, width := range widths {
		total += width
	}
	for ; t.fit > 0 && total > t.fit && len(t.shorten) > 0; total-- {
		widest := slices.MaxFunc(t.shorten, func(a, b int) int { return widths[a] - widths[b] })
		if widths[widest] <= leastCut {
			break
		}
		widths[widest]--
	}
	return widths
}

// fullWidths returns how wide each column would like to be.
func (t *table) fullWidths() []int {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], uniseg.StringWidth(cell))
		}
	}
	return widths
}

// cut shortens a text that is wider than it may be, and ends it with dots then.
func cut(text string, most int) string {
	if uniseg.StringWidth(text) <= most {
		return text
	}
	used := 1 // for the dots
	for characters := uniseg.NewGraphemes(text); characters.Next(); {
		if used += characters.Width(); used > most {
			from, _ := characters.Positions()
			return text[:from] + "…"
		}
	}
	return text
}

// say prints text for a person. The format is ours; the strings in it may come from
// anybody, and are made visible: none can move the cursor or begin a line.
func say(w io.Writer, format string, values ...any) error {
	for i, value := range values {
		if text, ok := value.(string); ok {
			values[i] = apikey.Visible(text)
		}
	}
	_, err := fmt.Fprintf(w, format, values...)
	return err
}
