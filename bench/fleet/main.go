// Command fleet measures fleets of gateways: how long changes take to be applied and
// confirmed everywhere, how many can be made in a second, and how a gateway starts.
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
	gateways := flag.String("gateways", "1,3,5,10,20", "sizes of the fleets, separated by commas")
	cold := flag.String("cold", "100000,1000000", "numbers of keys to start a gateway with, separated by commas")
	changes := flag.Int("changes", 500, "number of keys that are created and revoked in each")
	report := flag.String("report", "", "the Markdown file to write the figures to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *gateways, *cold, *changes, *report); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, sizes, cold string, changes int, report string) error {
	dir, err := os.MkdirTemp("", "bench-fleet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	etcd, err := startEtcd(ctx, dir, 3)
	if err != nil {
		return err
	}
	defer etcd.stop()
	all, err := each(sizes, func(n int) (figures, error) {
		fmt.Fprintf(os.Stderr, "measuring a fleet of %d\n", n)
		return measure(ctx, dir, etcd.endpoints, n, changes)
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "building the gateway")
	gateway := filepath.Join(dir, "caddy")
	build := exec.CommandContext(ctx, "go", "build", "-o", gateway, "./cmd/caddy")
	build.Dir, build.Stderr = "..", os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	starts, err := each(cold, func(n int) (coldStart, error) {
		return measureCold(ctx, dir, gateway, etcd, n)
	})
	if err != nil {
		return err
	}
	text := markdown.Machine() + "; etcd " + etcd.version + ".\n\n" + table(all, changes) + "\n" + coldTable(starts)
	fmt.Print(text)
	if report == "" {
		return nil
	}
	return markdown.Replace(report, "fleet", text)
}

// each measures for each of some numbers, which are separated by commas.
func each[T any](numbers string, measure func(int) (T, error)) (all []T, err error) {
	for number := range strings.SplitSeq(numbers, ",") {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("want numbers separated by commas, got %q", numbers)
		}
		one, err := measure(n)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", n, err)
		}
		all = append(all, one)
	}
	return all, nil
}
