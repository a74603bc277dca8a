package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// part is a table of the report. Its first rival is the reference for all of them.
type part struct {
	name   string
	rivals []*rival
	scaled bool // measured on the first core, and then on all
}

// parts returns the tables to fill: none for a profile.
func (o options) parts(e example) ([]part, error) {
	report := []part{
		{name: "rivals", rivals: rivals(e)},
		{name: "means", rivals: means(e)},
		{name: "cores", rivals: proxies(e), scaled: true},
	}
	switch {
	case o.profile != "":
		return nil, nil
	case o.only == "":
		return report, nil
	case o.report != "":
		return nil, errors.New("a report has all rows: leave out -only, or -report")
	}
	chosen := part{scaled: true}
	for id := range strings.SplitSeq(o.only, ",") {
		r := find(report, id)
		if r == nil {
			return nil, fmt.Errorf("-only %s: there is no row %q", o.only, id)
		}
		chosen.rivals = append(chosen.rivals, r)
	}
	return []part{chosen}, nil
}

// find returns the first rival with a letter, or nil.
func find(parts []part, id string) *rival {
	for _, p := range parts {
		if i := slices.IndexFunc(p.rivals, func(r *rival) bool { return r.id == id }); i >= 0 {
			return p.rivals[i]
		}
	}
	return nil
}

// fill measures the rivals of a table, and returns it.
func (o options) fill(ctx context.Context, s *site, p part) (string, error) {
	if !p.scaled {
		err := o.measure(ctx, s, p.rivals, first, true)
		return table(p.rivals), err
	}
	if err := o.measure(ctx, s, p.rivals, first, false); err != nil {
		return "", err
	}
	one := summaries(p.rivals)
	if err := o.measure(ctx, s, p.rivals, every(), false); err != nil {
		return "", err
	}
	return scaleTable(p.rivals, one, summaries(p.rivals)), nil
}
