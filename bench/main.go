// Command bench compares the gateway with a Caddy that checks nothing, and with
// what else could check API keys in front of the same API.
//
// All of them run at once, each on the first core, and are loaded in turn,
// round after round, from the other cores. The main figure is the CPU time of
// the gateway, and of the service that it asks, by the request: what the system
// has accounted to its processes, divided by the requests that were answered.
// It is compared within a round, and the median over the rounds is what counts,
// so that a neighbour's noise moves both sides.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/bench/markdown"
)

// options are what a run can be told.
type options struct {
	keys        int
	rounds      int
	round       time.Duration
	connections int
	rate        int
	only        string
	report      string
	profile     string
}

func main() {
	var o options
	flag.IntVar(&o.keys, "keys", 10_000, "how many keys there are, all of them in use")
	flag.IntVar(&o.rounds, "rounds", 40, "how often each gateway is loaded")
	flag.DurationVar(&o.round, "round", 250*time.Millisecond, "how long it is loaded each time")
	flag.IntVar(&o.connections, "connections", 64, "how many requests are under way at once")
	flag.IntVar(&o.rate, "rate", 1000, "requests a second when the time of an answer is measured")
	flag.StringVar(&o.only, "only", "", "the rows to measure, by their letters with commas between them; all if empty. The first row of a table is what the others are measured by")
	flag.StringVar(&o.report, "report", "", "the Markdown file to write the figures to")
	flag.StringVar(&o.profile, "profile", "", "measure nothing, and write a CPU profile of the gateway under load to this file")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	programs := toCompare
	if o.profile != "" {
		programs = toProfile
	}
	site, err := prepare(ctx, dir, o.keys, programs)
	if err != nil {
		return err
	}
	defer site.stop()
	if o.profile != "" {
		return profile(ctx, o, site)
	}
	for _, part := range []struct {
		name   string
		rivals []*rival
	}{{"rivals", rivals(site.example)}, {"means", means(site.example)}} {
		chosen := o.choose(part.rivals)
		if len(chosen) == 0 {
			continue
		}
		if err := o.measure(ctx, site, chosen); err != nil {
			return err
		}
		figures := o.machine() + "\n" + table(chosen)
		fmt.Println(figures)
		if o.report == "" {
			continue
		}
		if err := markdown.Replace(o.report, part.name, figures); err != nil {
			return err
		}
	}
	return nil
}

// choose returns the rivals that are to be measured.
func (o options) choose(rivals []*rival) []*rival {
	if o.only == "" {
		return rivals
	}
	ids := strings.Split(o.only, ",")
	return slices.DeleteFunc(rivals, func(r *rival) bool { return !slices.Contains(ids, r.id) })
}
