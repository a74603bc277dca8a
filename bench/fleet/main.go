// Command fleet measures fleets of gateways: how long changes take to be applied and
// confirmed everywhere, how many can be made in a second, and how a gateway starts.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/agiled/caddy-api-keys/bench/markdown"
)

func main() {
	gateways := flag.String("gateways", "1,3,5,10,20", "sizes of the fleets, separated by commas")
	changes := flag.Int("changes", 500, "number of keys that are created and revoked in each")
	report := flag.String("report", "", "the Markdown file to write the figures to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *gateways, *changes, *report); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, sizes string, changes int, report string) error {
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
	var all []figures
	for size := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 {
			return fmt.Errorf("-gateways: want numbers separated by commas, got %q", sizes)
		}
		fmt.Fprintf(os.Stderr, "measuring a fleet of %d\n", n)
		f, err := measure(ctx, dir, etcd.endpoints, n, changes)
		if err != nil {
			return fmt.Errorf("a fleet of %d: %w", n, err)
		}
		all = append(all, f)
	}
	text := markdown.Machine() + "; etcd " + etcd.version + ".\n\n" + table(all, changes)
	fmt.Print(text)
	if report == "" {
		return nil
	}
	return markdown.Replace(report, "fleet", text)
}
