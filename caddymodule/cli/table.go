package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rivo/uniseg"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// table prints rows of cells in columns. Control characters in cells are escaped,
// so that none can move the cursor. Widths are in the columns of a terminal, of
// which 東 takes two.
type table struct {
	rows [][]string
	// fit is the maximum width of a row; 0 for no limit.
	fit int
	// optional are the columns to drop, from the last, if rows would be too wide.
	optional []int
	// shorten are the columns to truncate if rows would be too wide.
	shorten []int
}

const (
	tableGap = 2  // between columns
	leastCut = 12 // no cell is truncated to less
	readable = 24 // optional columns are dropped before others are truncated to less
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

// leaveOut drops optional columns: the empty ones, and then others until the rest
// fits.
func (t *table) leaveOut() {
	for _, column := range slices.Backward(t.optional) {
		if t.empty(column) || t.fit > 0 && t.leastWidth() > t.fit {
			for i, row := range t.rows {
				t.rows[i] = slices.Delete(row, column, column+1)
			}
		}
	}
}

// empty reports whether a column has only a heading.
func (t *table) empty(column int) bool {
	return !slices.ContainsFunc(t.rows[1:], func(row []string) bool { return row[column] != "" })
}

// leastWidth returns the width of a row with every truncatable column at its
// shortest readable width.
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

// widths returns the width of each column.
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

// fullWidths returns the width of each column without truncation.
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

// cut truncates text that is too wide, and ends it with an ellipsis.
func cut(text string, most int) string {
	if uniseg.StringWidth(text) <= most {
		return text
	}
	used := 1 // for the ellipsis
	for characters := uniseg.NewGraphemes(text); characters.Next(); {
		if used += characters.Width(); used > most {
			from, _ := characters.Positions()
			return text[:from] + "…"
		}
	}
	return text
}

// say prints text for people. Values in the format may come from anybody, so they
// are escaped: none can move the cursor or begin a line.
func say(w io.Writer, format string, values ...any) error {
	for i, value := range values {
		if text, ok := value.(string); ok {
			values[i] = apikey.Visible(text)
		}
	}
	_, err := fmt.Fprintf(w, format, values...)
	return err
}
