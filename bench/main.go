// Command bench compares the gateway with plain Caddy, and with other ways to check API
// keys in front of the same API.
//
// All of them run at the same time, on the first core or on all, and are loaded in turn.
// Before the first round, each is sent every key once. The main figure is the CPU time per
// request of the gateway, including the service that it asks: the time that the system
// accounts to its processes, divided by the number of requests answered. Each round is
// compared with a round of the reference next to it, so that noise affects both, and the
// result is the median over all rounds.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/agiled/caddy-api-keys/bench/markdown"
)

// options are the command-line options.
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
	flag.IntVar(&o.keys, "keys", 10_000, "number of keys, all of them in use")
	flag.IntVar(&o.rounds, "rounds", 40, "number of rounds for each gateway")
	flag.DurationVar(&o.round, "round", 250*time.Millisecond, "length of a round")
	flag.IntVar(&o.connections, "connections", 64, "number of concurrent requests")
	flag.IntVar(&o.rate, "rate", 1000, "requests per second when response times are measured")
	flag.StringVar(&o.only, "only", "", "comma-separated letters of rows, such as b0,b: build and measure only these, on the first core and on all, and compare them with the first of them")
	flag.StringVar(&o.report, "report", "", "the Markdown file to write the figures to")
	flag.StringVar(&o.profile, "profile", "", "instead of measuring, write a CPU profile of the gateway under load to this file")
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
	e, err := readExample()
	if err != nil {
		return err
	}
	parts, err := o.parts(e)
	if err != nil {
		return err
	}
	site, err := prepare(ctx, dir, o.keys, e, parts)
	if err != nil {
		return err
	}
	defer site.stop()
	if o.profile != "" {
		return profile(ctx, o, site)
	}
	for _, p := range parts {
		rows, err := o.fill(ctx, site, p)
		if err != nil {
			return err
		}
		figures := o.machine(p) + "\n" + rows
		fmt.Println(figures)
		if o.report == "" {
			continue
		}
		if err := markdown.Replace(o.report, p.name, figures); err != nil {
			return err
		}
	}
	return nil
}
