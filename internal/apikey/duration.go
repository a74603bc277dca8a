package apikey

import (
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// ParseDuration parses a Go duration that may begin with a whole or broken
// number of days: "90d", "1d12h", "36h". The result is more than zero, or
// [ErrInvalidDuration] with the given field.
func ParseDuration(field, s string) (time.Duration, error) {
	d, ok := parseDuration(s)
	if !ok || d <= 0 {
		return 0, &Error{Code: ErrInvalidDuration.Code, Field: field, Message: ErrInvalidDuration.Message}
	}
	return d, nil
}

func parseDuration(s string) (time.Duration, bool) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		d, err := time.ParseDuration(s)
		return d, err == nil
	}
	n, err := strconv.ParseFloat(days, 64)
	if err != nil || !(n >= 0 && n < float64(1<<62)/float64(day)) || strings.ContainsAny(days, "xXpPeEiInN+-_") {
		return 0, false
	}
	total := time.Duration(n * float64(day))
	if rest == "" {
		return total, true
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || total+d < total || strings.ContainsAny(rest[:1], "+-") {
		return 0, false
	}
	return total + d, true
}

// FormatDuration returns a duration as ParseDuration takes it, in days where it
// has any.
func FormatDuration(d time.Duration) string {
	if d < day {
		return d.String()
	}
	days, rest := d/day, d%day
	if rest == 0 {
		return strconv.FormatInt(int64(days), 10) + "d"
	}
	return strconv.FormatInt(int64(days), 10) + "d" + rest.String()
}
