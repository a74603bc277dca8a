package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// A list is filled from pages that have fewer entries than were asked for, and is never
// longer than was asked for.
func TestFilled(t *testing.T) {
	for _, test := range []struct {
		title  string
		limit  int
		pages  []int // the entries that a page finds
		want   int
		next   string
		asked  []int // the limit of each page
		failed bool
	}{
		{title: "one page", limit: 10, pages: []int{3}, want: 3, asked: []int{10}},
		{title: "a full page, and more", limit: 3, pages: []int{3, 1}, want: 3, next: "1", asked: []int{3}},
		{title: "short and empty pages", limit: 5, pages: []int{0, 2, 0, 1}, want: 3, asked: []int{5, 5, 3, 3}},
		{title: "full in the end", limit: 5, pages: []int{2, 0, 3, 7}, want: 5, next: "3", asked: []int{5, 3, 3}},
		{title: "without a limit", pages: []int{40, 10, 1}, want: 50, next: "2", asked: []int{0, 10}},
		{title: "the whole list", limit: math.MaxInt, pages: []int{200, 0, 200, 7}, want: 407, asked: []int{200, 200, 200, 200}},
		{title: "a failure", limit: 5, pages: []int{2, -1}, asked: []int{5, 3}, failed: true},
	} {
		t.Run(test.title, func(t *testing.T) {
			var asked []int
			read := func(page client.PageOptions) ([]int, *string, error) {
				if want := fmt.Sprint(len(asked)); len(asked) > 0 && page.Cursor != want {
					t.Errorf("got the cursor %q, want %q", page.Cursor, want)
				}
				n := test.pages[len(asked)]
				if asked = append(asked, page.Limit); n < 0 {
					return nil, nil, errors.New("it failed")
				}
				if len(asked) == len(test.pages) {
					return make([]int, n), nil, nil
				}
				return make([]int, n), new(fmt.Sprint(len(asked))), nil
			}
			found, next, err := filled(io.Discard, client.PageOptions{Limit: test.limit}, read)
			if len(found) != test.want || (err != nil) != test.failed || value(next) != test.next {
				t.Errorf("got %d entries, next %q and error %v, want %d, %q, an error: %t", len(found), value(next), err, test.want, test.next, test.failed)
			}
			if fmt.Sprint(asked) != fmt.Sprint(test.asked) {
				t.Errorf("got pages of %v, want %v", asked, test.asked)
			}
		})
	}
}

// Every command that lists pages can list all of them: a pipe that reads only the first
// looks as if there were no others.
func TestPageFlags_all(t *testing.T) {
	group := &cobra.Command{}
	addCommands(group, nil)
	paged := 0
	for _, cmd := range group.Commands() {
		if cmd.Flag("cursor") == nil {
			continue
		}
		paged++
		if cmd.Flag("all") == nil || cmd.Flag("limit") == nil {
			t.Errorf("%s has --cursor, but not both --limit and --all", cmd.Name())
		}
	}
	if paged < 5 {
		t.Errorf("got %d commands that list pages, want 5", paged)
	}
}
