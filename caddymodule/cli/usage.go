package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func usageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "usage [--workspace WORKSPACE] [--days DAYS] KEY_ID",
		SuggestFor: []string{"uses", "stats", "requests"},
		Short:      "Shows how often a key was used, by day",
		Long: `Shows how often a key was used on each of the last days, in UTC: how many requests were
allowed, refused, or over a limit. It also works for keys that have expired or were
revoked. The table begins with the first day on which the key was used.`,
		Example: "  caddy api-keys usage --days 7 key_01JD…",
	}
	keyFlags(cmd)
	days := cmd.Flags().Int("days", 30, fmt.Sprintf("Number of days, today included: 1 to %d", apikey.UsageDays))
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if *days < 1 || *days > apikey.UsageDays {
			return usagef("--days is a number from 1 to %d", apikey.UsageDays)
		}
		ws, id, err := t.workspaceAndKey(ctx, cmd, args)
		if err != nil {
			return err
		}
		usage, err := t.client.ShowUsage(ctx, ws, id, *days)
		if err != nil {
			return t.unknownKey(ctx, ws, id, err)
		}
		if t.form == "json" {
			return t.json(map[string]any{"usage": usage})
		}
		return t.used(usage, *days)
	})
}

// used prints a table of days.
func (t *terminal) used(usage []client.DayUsage, days int) error {
	if len(usage) == 0 {
		return say(t.out, "The key was not used in the last %s.\n", plural(days, "day"))
	}
	usage = withGaps(usage, t.now)
	most, sum := uint64(0), client.DayUsage{Day: "Total"}
	for _, day := range usage {
		most = max(most, requests(day))
		sum = client.DayUsage{
			Day: sum.Day, Reads: sum.Reads + day.Reads, Writes: sum.Writes + day.Writes,
			Refused: sum.Refused + day.Refused, RateLimited: sum.RateLimited + day.RateLimited,
		}
	}
	list := table{fit: t.width, optional: []int{5}}
	headings := []string{"READS", "WRITES", "REFUSED", "OVER LIMIT"}
	row := func(day client.DayUsage, bar string) {
		cells := []string{day.Day}
		for i, n := range []uint64{day.Reads, day.Writes, day.Refused, day.RateLimited} {
			cells = append(cells, fmt.Sprintf("%*d", len(headings[i]), n))
		}
		list.row(append(cells, bar)...)
	}
	list.row(append(append([]string{"DAY"}, headings...), "REQUESTS")...)
	for _, day := range usage {
		row(day, bar(requests(day), most, showsBlocks()))
	}
	row(sum, "")
	return list.write(t.out)
}

func requests(day client.DayUsage) uint64 {
	return day.Reads + day.Writes + day.Refused + day.RateLimited
}

// withGaps adds the days on which a key was not used, from the first one up to now: it
// should be seen that something has stopped.
func withGaps(usage []client.DayUsage, now time.Time) (all []client.DayUsage) {
	day, err := time.Parse(time.DateOnly, usage[0].Day)
	if err != nil {
		return usage
	}
	last := max(usage[len(usage)-1].Day, now.UTC().Format(time.DateOnly))
	for ; len(all) < apikey.UsageDays && day.Format(time.DateOnly) <= last; day = day.AddDate(0, 0, 1) {
		one := client.DayUsage{Day: day.Format(time.DateOnly)}
		if len(usage) > 0 && usage[0].Day == one.Day {
			one, usage = usage[0], usage[1:]
		}
		all = append(all, one)
	}
	return all
}

// barWidth is the width of the longest bar.
const barWidth = 24

// bar returns a bar for n of most. A number that is not zero has a bar that is not empty.
func bar(n, most uint64, blocks bool) string {
	if n == 0 {
		return ""
	}
	part := float64(n) / float64(most) * barWidth
	if !blocks {
		return strings.Repeat("#", max(int(part+0.5), 1))
	}
	const eighths = "▏▎▍▌▋▊▉"
	full, rest := int(part), int((part-float64(int(part)))*8)
	text := strings.Repeat("█", full)
	if rest > 0 || full == 0 {
		text += string([]rune(eighths)[max(rest, 1)-1])
	}
	return text
}

// showsBlocks reports whether the terminal is likely to show characters beyond ASCII, as
// its locale says.
func showsBlocks() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := os.Getenv(name); locale != "" { // the first that is set counts
			upper := strings.ToUpper(locale)
			return strings.Contains(upper, "UTF-8") || strings.Contains(upper, "UTF8")
		}
	}
	return false
}
