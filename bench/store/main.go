// Command store measures the gateway with stores of many keys: how fast it
// starts, what memory and disk it takes, and how long its operations are.
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
	sizes := flag.String("keys", "1000000,10000000", "how many keys there are, in one store after the other")
	beside := flag.Int("beside", 0, "measure this many times what requests notice of backup, restore and doctor, instead of everything else")
	report := flag.String("report", "", "the Markdown file to write the figures to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *sizes, *beside, *report); err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, sizes string, rounds int, report string) error {
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
		return runBeside(ctx, dir, gateway, sizes, rounds, report)
	}
	var all []figures
	for size := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return fmt.Errorf("-keys: want numbers with commas between them, got %q", sizes)
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

func runBeside(ctx context.Context, dir, gateway, size string, rounds int, report string) error {
	n, err := strconv.Atoi(size)
	if err != nil {
		return fmt.Errorf("-keys: want one number with -beside, got %q", size)
	}
	all, err := besideAll(ctx, dir, gateway, n, rounds)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s, %d keys.\n\n%s", markdown.Machine(), n, besideTable(all))
	fmt.Print(text)
	if report == "" {
		return nil
	}
	return markdown.Replace(report, "beside", text)
}
