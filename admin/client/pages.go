package client

import (
	"iter"
	"strconv"
)

// PageOptions selects a page of a list. The zero value selects the first.
type PageOptions struct {
	// Limit is the maximum number of entries, 1 to 200. Default: 50.
	Limit int
	// Cursor is the NextCursor of the previous page of the same list.
	Cursor string
}

func (o PageOptions) query(path string) string {
	return withQuery(path, map[string]string{"limit": positive(o.Limit), "cursor": o.Cursor})
}

// positive formats a number for a query: "" for 0.
func positive(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// longestPage is the limit used to read all entries of a list.
const longestPage = 200

// all returns the entries of every page. It ends with the first error.
func all[T any](read func(PageOptions) (entries []T, next *string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		options := PageOptions{Limit: longestPage}
		for {
			entries, next, err := read(options)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, entry := range entries {
				if !yield(entry, nil) {
					return
				}
			}
			if next == nil {
				return
			}
			options.Cursor = *next
		}
	}
}
