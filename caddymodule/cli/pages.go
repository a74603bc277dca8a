package cli

import (
	"cmp"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

const (
	defaultLimit = 50 // of a page that asks for no other
	longestPage  = 200
)

// pageFlags adds the flags of a command that prints a list, and returns a function that
// reads them. The limit that it returns is above [longestPage] if the whole list is wanted.
func pageFlags(cmd *cobra.Command, things string) func() (client.PageOptions, error) {
	flags := cmd.Flags()
	limit := flags.Int("limit", 0, "Maximum number of "+things+", 1 to 200 (default 50)")
	all := flags.Bool("all", false, "List all "+things+", however many there are")
	cursor := flags.String("cursor", "", "Continue a list: the next_cursor of the page before")
	return func() (client.PageOptions, error) {
		switch {
		case *all && flags.Changed("limit"):
			return client.PageOptions{}, usagef("--all and --limit exclude each other")
		case *all:
			*limit = math.MaxInt
		case flags.Changed("limit") && (*limit < 1 || *limit > longestPage):
			return client.PageOptions{}, usagef("--limit is a number from 1 to 200, or --all lists all %s", things)
		}
		return client.PageOptions{Limit: *limit, Cursor: *cursor}, nil
	}
}

// filled reads pages until there are as many entries as were asked for: the server ends a
// page of a search before, if it finds little.
func filled[T any](stderr io.Writer, page client.PageOptions, read func(client.PageOptions) ([]T, *string, error)) (entries []T, next *string, err error) {
	limit := cmp.Or(page.Limit, defaultLimit)
	page.Limit = min(page.Limit, longestPage)
	entries, next, err = read(page)
	if err != nil || next == nil || len(entries) >= limit {
		return entries, next, err
	}
	searched := newProgress(stderr, "searching", unknownLength)
	defer searched.end()
	for next != nil && len(entries) < limit {
		var more []T
		more, next, err = read(client.PageOptions{Limit: min(limit-len(entries), longestPage), Cursor: *next})
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, more...)
	}
	return entries, next, nil
}
