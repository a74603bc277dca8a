package caddymodule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// onlyBlock refuses values after a name that takes only a block.
func onlyBlock(d *caddyfile.Dispenser) error {
	if name := d.Val(); d.NextArg() {
		return d.Errf("%s takes options in a block, not a value: %q", name, d.Val())
	}
	return nil
}

// options are the lines that a block may have, by their first word, or by their
// first two if there are several variants.
type options map[string]func() error

// variants returns the second words that an option may have, sorted.
func (o options) variants(first string) (words []string) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if word, ok := strings.CutPrefix(name, first+" "); ok {
			words = append(words, word)
		}
	}
	return words
}

// parseBlock parses the lines of a block, in any order and each at most once, unless it is
// repeatable.
func parseBlock(d *caddyfile.Dispenser, block string, known options, repeatable ...string) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		parse, ok := known[name]
		if variants := known.variants(name); len(variants) > 0 {
			if !d.NextArg() {
				return d.Errf("%s is followed by one of %s", name, strings.Join(variants, ", "))
			}
			if !slices.Contains(variants, d.Val()) {
				return d.Errf("%s is followed by one of %s, not by %q", name, strings.Join(variants, ", "), d.Val())
			}
			name += " " + d.Val()
			parse, ok = known[name]
		}
		if !ok {
			return d.Errf("%s has no option %q: it takes %s", block, name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if seen[name] && !slices.Contains(repeatable, name) {
			return d.Errf("%s has the option %s twice", block, name)
		}
		seen[name] = true
		if err := parse(); err != nil {
			return err
		}
		if following := *d; following.Next() && following.Val() == "{" && following.Line() == d.Line() {
			return d.Errf("%s takes no block", name)
		}
	}
	return nil
}

// text parses a line with one word.
func text(d *caddyfile.Dispenser, into *string, form string, validate func(string) error) func() error {
	return func() error {
		name := d.Val()
		if !d.AllArgs(into) || *into == "" {
			return d.Errf("%s takes one value: %s %s", name, name, form)
		}
		if validate == nil {
			return nil
		}
		return located(d, name, validate(*into))
	}
}

// list parses a line with one word or more.
func list(d *caddyfile.Dispenser, into *[]string, form string, validate func(string) error) func() error {
	return func() error {
		name := d.Val()
		*into = d.RemainingArgs()
		if len(*into) == 0 {
			return d.Errf("%s takes one value or more: %s %s", name, name, form)
		}
		for _, value := range *into {
			if err := validate(value); err != nil {
				return located(d, name, err)
			}
		}
		return nil
	}
}

// choice parses a line with one of several words.
func choice(d *caddyfile.Dispenser, into *string, values ...string) func() error {
	return func() error {
		name := d.Val()
		if !d.AllArgs(into) {
			return d.Errf("%s takes one value: %s", name, strings.Join(values, " or "))
		}
		return located(d, "", oneOf(name, *into, values...))
	}
}

// number parses a line with a whole number above zero.
func number(d *caddyfile.Dispenser, into *int) func() error {
	return func() error {
		name, value := d.Val(), ""
		if !d.AllArgs(&value) {
			return d.Errf("%s takes one number, such as %s 100", name, name)
		}
		if err := literal(value); err != nil {
			return located(d, name, err)
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return d.Errf("%s: %q is not a whole number above zero, such as 100", name, value)
		}
		*into = n
		return nil
	}
}

// duration parses a line with a duration above zero.
func duration(d *caddyfile.Dispenser, into *caddy.Duration) func() error {
	return func() error {
		name, value := d.Val(), ""
		if !d.AllArgs(&value) {
			return d.Errf("%s takes one duration, such as %s 90d", name, name)
		}
		if err := literal(value); err != nil {
			return located(d, name, err)
		}
		parsed, err := caddy.ParseDuration(value)
		if err != nil || parsed <= 0 {
			return d.Errf("%s: %q is not a duration above zero, such as 90d or 1h30m", name, value)
		}
		*into = caddy.Duration(parsed)
		return nil
	}
}

// rateLimit parses the rest of a line with a number of requests and a window.
func rateLimit(d *caddyfile.Dispenser, into **RateLimit) func() error {
	return func() error {
		args := d.RemainingArgs()
		limit := new(RateLimit)
		if len(args) == 3 && args[2] == "per_fleet" {
			limit.PerFleet, args = true, args[:2]
		}
		if len(args) != 2 {
			return d.Err("rate_limit takes read, write or workspace, a number of requests, a window, and maybe per_fleet: rate_limit read 60 1m")
		}
		number, window := args[0], args[1]
		if err := parsePerWindow(number, "requests", &limit.Requests, window, &limit.Window); err != nil {
			return located(d, "rate_limit", err)
		}
		*into = limit
		return located(d, "rate_limit", limit.validate())
	}
}

// maxChanges parses a line with a number of changes and a window.
func maxChanges(d *caddyfile.Dispenser, into **MaxChanges) func() error {
	return func() error {
		var number, window string
		if !d.AllArgs(&number, &window) {
			return d.Err("max_changes takes a number of changes and a window: max_changes 120 1m")
		}
		limit := new(MaxChanges)
		if err := parsePerWindow(number, "changes", &limit.Changes, window, &limit.Window); err != nil {
			return located(d, "max_changes", err)
		}
		*into = limit
		return located(d, "max_changes", limit.validate())
	}
}

// parsePerWindow parses a number of things and a window.
func parsePerWindow(number, things string, n *int, window string, length *caddy.Duration) error {
	if err := cmp.Or(literal(number), literal(window)); err != nil {
		return err
	}
	parsed, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("%q is not a number of %s, such as 60", number, things)
	}
	duration, err := caddy.ParseDuration(window)
	if err != nil {
		return fmt.Errorf("%q is not a window, such as 1m", window)
	}
	*n, *length = parsed, caddy.Duration(duration)
	return nil
}

// flag parses a line that consists of its name.
func flag(d *caddyfile.Dispenser, into *bool) func() error {
	return func() error {
		if name := d.Val(); d.NextArg() {
			return d.Errf("%s takes no value", name)
		}
		*into = true
		return nil
	}
}

// located adds the option and its position in the file to an error.
func located(d *caddyfile.Dispenser, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case name == "":
		return d.WrapErr(err)
	}
	return d.Errf("%s: %v", name, err)
}
