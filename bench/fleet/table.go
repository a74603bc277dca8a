package main

import (
	"fmt"
	"strings"
	"time"
)

// table returns the figures as a Markdown table with a row for each fleet.
func table(all []figures, changes int) string {
	var out strings.Builder
	fmt.Fprintln(&out, "| gateways | create a key | the key is on all gateways | revoke a key, confirmed | changes a second, 64 callers |")
	fmt.Fprintln(&out, "|---:|---:|---:|---:|---:|")
	for _, f := range all {
		fmt.Fprintf(&out, "| %d | %s | %s | %s | %.0f |\n", f.gateways, f.created, f.applied, f.revoked, f.perSec)
	}
	fmt.Fprintf(&out, "\nTimes: median of %d, with the 99th percentile in parentheses.\n", changes)
	return out.String()
}

func (s spread) String() string {
	return fmt.Sprintf("%.1f ms (%.1f)", milliseconds(s.median), milliseconds(s.p99))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// coldTable returns the figures as a Markdown table with a row for each number of keys.
func coldTable(all []coldStart) string {
	var out strings.Builder
	fmt.Fprintln(&out, "| keys | moved into the fleet in | etcd, per key with its event | a gateway with an empty directory serves after | when started again | its memory then | its highest memory |")
	fmt.Fprintln(&out, "|---:|---:|---:|---:|---:|---:|---:|")
	for _, c := range all {
		fmt.Fprintf(&out, "| %d | %.1f s | %d B | %.1f s | %.1f s | %d MB | %d MB |\n", c.keys, c.imported.Seconds(), c.size,
			c.took.Seconds(), c.again.Seconds(), c.memory/1e6, c.peak/1e6)
	}
	return out.String() + "\nMemory at its highest includes pages of mapped files, which the system can reclaim.\n"
}
