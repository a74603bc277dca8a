package main

import (
	"fmt"
	"strings"
	"time"
)

// table returns the figures as a Markdown table with a column per store.
func table(all []figures) string {
	var out strings.Builder
	row := func(what string, cell func(figures) string) {
		fmt.Fprintf(&out, "| %s |", what)
		for _, f := range all {
			fmt.Fprintf(&out, " %s |", cell(f))
		}
		fmt.Fprintln(&out)
	}
	row("keys", func(f figures) string { return fmt.Sprint(f.keys) })
	fmt.Fprintln(&out, "|---|"+strings.Repeat("---:|", len(all)))
	row("time from start to first response", func(f figures) string { return fmt.Sprintf("%d ms", f.start.Milliseconds()) })
	row("memory when ready", func(f figures) string { return f.ready.String() })
	row("memory with 100,000 keys in use", func(f figures) string { return f.heavy.String() })
	row("Go heap of these keys", func(f figures) string { return fmt.Sprintf("%d MB", f.heap/1e6) })
	row("disk per key", func(f figures) string { return fmt.Sprintf("%d B", f.disk/int64(f.keys)) })
	for _, o := range []struct {
		what string
		of   func(operations) spread
	}{
		{"check a cached key", func(o operations) spread { return o.warm }},
		{"check a key on disk", func(o operations) spread { return o.cold }},
		{"check an unknown token", func(o operations) spread { return o.unknown }},
		{"list 50 of a workspace's 100 keys", func(o operations) spread { return o.list }},
		{"create a key", func(o operations) spread { return o.create }},
		{"revoke a key", func(o operations) spread { return o.revoke }},
	} {
		row(o.what, func(f figures) string {
			s := o.of(f.operations)
			return fmt.Sprintf("%s (%s)", rounded(s.median), rounded(s.p99))
		})
	}
	return out.String() + "\nMemory: private to the process, plus mapped file pages, which the system can reclaim. Operations: median, with the 99th\npercentile in parentheses.\n"
}

func (m memory) String() string { return fmt.Sprintf("%d MB + %d MB", m.own/1e6, m.files/1e6) }

// rounded returns a duration to two or three digits.
func rounded(d time.Duration) string {
	microseconds := float64(d) / float64(time.Microsecond)
	if microseconds < 100 {
		return fmt.Sprintf("%.1f µs", microseconds)
	}
	return fmt.Sprintf("%.0f µs", microseconds)
}
