// Command store measures the gateway with large stores: how fast it starts, how much
// memory and disk it uses, and how long its operations take.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/agiled/caddy-api-keys/bench/markdown"
)

func main() {
	sizes := flag.String("keys", "1000000,10000000", "number of keys in each store, separated by commas")
	impact := flag.Int("impact", 0, "instead, measure this many times how backup, restore and other long operations affect requests")
	only := flag.String("only", "", "with -impact, measure a restore alone, and write no report: restore")
	report := flag.String("report", "", "the Markdown file to write the figures to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *sizes, *impact, *only, *report); err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, sizes string, rounds int, only, report string) error {
	dir, err := os.MkdirTemp("", "bench-store-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	gateway := filepath.Join(dir, "caddy")
	build := exec.CommandContext(ctx, "go", "build", "-o", gateway, "./cmd/caddy")
	build.Dir, build.Stderr = "..", os.Stderr
	fmt.Fprintln(os.Stderr, "building the gateway")
	if err := build.Run(); err != nil {
		return err
	}
	if rounds > 0 {
		return runImpact(ctx, dir, gateway, sizes, rounds, only, report)
	}
	var all []figures
	for size := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return fmt.Errorf("-keys: want numbers separated by commas, got %q", sizes)
		}
		f, err := measure(ctx, filepath.Join(dir, size), gateway, n)
		if err != nil {
			return err
		}
		all = append(all, f)
	}
	fmt.Print(table(all))
	if report == "" {
		return nil
	}
	return markdown.Replace(report, "store", markdown.Machine()+".\n\n"+table(all))
}

func runImpact(ctx context.Context, dir, gateway, size string, rounds int, only, report string) error {
	n, err := strconv.Atoi(size)
	if err != nil {
		return fmt.Errorf("-keys: want one number with -impact, got %q", size)
	}
	measure := measureImpact
	switch only {
	case "":
	case "restore":
		measure, report = measureRestore, ""
	default:
		return fmt.Errorf("-only: want restore, got %q", only)
	}
	all, err := measure(ctx, dir, gateway, n, rounds)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s, %d keys.\n\n%s", markdown.Machine(), n, impactTable(all))
	fmt.Print(text)
	if report == "" {
		return nil
	}
	return markdown.Replace(report, "impact", text)
}
