package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/bench/markdown"
)

// summary holds the medians over a rival's rounds.
type summary struct {
	cpu      float64 // µs per request
	ratio    float64 // of cpu to the first rival's in the paired round
	spread   [2]float64
	rate     float64 // requests per second
	p50, p99 time.Duration
	resident int
}

func summarize(r *rival) summary {
	of := func(rounds []round, value func(int, round) float64) []float64 {
		values := make([]float64, len(rounds))
		for i, round := range rounds {
			values[i] = value(i, round)
		}
		slices.Sort(values)
		return values
	}
	ratios := of(r.rounds, func(i int, x round) float64 { return x.perRequest() / r.reference[i].perRequest() })
	return summary{
		cpu:      median(of(r.rounds, func(_ int, x round) float64 { return x.perRequest() })),
		ratio:    median(ratios),
		spread:   [2]float64{ratios[len(ratios)/4], ratios[len(ratios)*3/4]},
		rate:     median(of(r.rounds, func(_ int, x round) float64 { return float64(x.requests) / x.seconds })),
		p50:      time.Duration(median(of(r.paced, func(_ int, x round) float64 { return float64(x.latencies.P50) }))),
		p99:      time.Duration(median(of(r.paced, func(_ int, x round) float64 { return float64(x.latencies.P99) }))),
		resident: int(median(of(r.rounds, func(_ int, x round) float64 { return float64(x.resident) }))),
	}
}

// median returns the middle one of sorted values, and 0 if nothing was measured.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return values[len(values)/2]
}

func summaries(rivals []*rival) (all []summary) {
	for _, r := range rivals {
		all = append(all, summarize(r))
	}
	return all
}

// table returns the figures, as a Markdown table.
func table(rivals []*rival) string {
	var out strings.Builder
	fmt.Fprintln(&out, "| | gateway | ratio | quartiles | CPU µs/request | requests/s | p50 ms | p99 ms | memory MiB |")
	fmt.Fprintln(&out, "|---|---|---:|---:|---:|---:|---:|---:|---:|")
	for _, r := range rivals {
		s := summarize(r)
		fmt.Fprintf(&out, "| %s | %s | %.2f | %.2f–%.2f | %.1f | %.0f | %.2f | %.2f | %d |\n", r.id, r.name, s.ratio,
			s.spread[0], s.spread[1], s.cpu, s.rate, milliseconds(s.p50), milliseconds(s.p99), s.resident>>20)
	}
	return out.String()
}

// scaleTable returns the figures of the same rivals on the first core and on all, as a
// Markdown table.
func scaleTable(rivals []*rival, one, all []summary) string {
	var out strings.Builder
	fmt.Fprintf(&out, "| | gateway | cores | ratio | quartiles | CPU µs/request | to one core | requests/s | to one core | memory MiB |\n")
	fmt.Fprintln(&out, "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
	for i, r := range rivals {
		for _, s := range []struct {
			summary
			cores int
		}{{one[i], 1}, {all[i], runtime.NumCPU()}} {
			fmt.Fprintf(&out, "| %s | %s | %d | %.3f | %.2f–%.2f | %.1f | %.2f | %.0f | %.2f | %d |\n", r.id, r.name, s.cores,
				s.ratio, s.spread[0], s.spread[1], s.cpu, s.cpu/one[i].cpu, s.rate, s.rate/one[i].rate, s.resident>>20)
		}
	}
	return out.String()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// machine describes where and with what the figures of a table were measured.
func (o options) machine(p part) string {
	figures := fmt.Sprintf("%d keys, %d connections, %d rounds of %v", o.keys, o.connections, o.rounds, o.round)
	if p.scaled {
		return fmt.Sprintf("%s. %s.\n", markdown.Machine(), figures)
	}
	return fmt.Sprintf("%s, %s, %s. %s; p50 and p99 at %d requests a second.\n",
		markdown.Machine(), markdown.Said("nginx", "-v"), markdown.Said("haproxy", "-v"), figures, o.rate)
}
