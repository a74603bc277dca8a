package cli

import (
	"fmt"
	"strings"
	"time"
)

// lastUse formats when a key was last used, and how long ago that is.
func (t *terminal) lastUse(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return t.moment(at) + " (" + t.ago(at) + ")"
}

// ago formats how long ago something was.
func (t *terminal) ago(at *time.Time) string {
	if at == nil {
		return "never"
	}
	passed := max(0, t.now.Sub(*at))
	switch {
	case passed < time.Minute:
		return fmt.Sprintf("%d s ago", passed/time.Second)
	case passed < time.Hour:
		return fmt.Sprintf("%d min ago", passed/time.Minute)
	case passed < 24*time.Hour:
		return fmt.Sprintf("%d h ago", passed/time.Hour)
	}
	return plural(int(passed/(24*time.Hour)), "day") + " ago"
}

// moment formats a time, with the days until then.
func (t *terminal) moment(at *time.Time) string {
	if at == nil {
		return ""
	}
	if days := int(at.Sub(t.now).Round(time.Hour) / (24 * time.Hour)); days > 0 {
		return fmt.Sprintf("%s (in %s)", stamp(*at), plural(days, "day"))
	}
	return stamp(*at)
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

func presetWords(preset string) string { return strings.ReplaceAll(preset, "_", " ") }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func was(n int, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return plural(n, what) + " were"
}
