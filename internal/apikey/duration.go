package apikey

import (
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// ParseDuration parses a Go duration that may begin with a whole or decimal
// number of days: "90d", "1d12h", "36h". The result is more than zero, or
// [ErrInvalidDuration] with the given field.
func ParseDuration(field, s string) (time.Duration, error) {
	d, ok := parseDuration(s)
	if !ok || d <= 0 {
		return 0, &Error{Code: ErrInvalidDuration.Code, Field: field, Message: ErrInvalidDuration.Message}
	}
	return d, nil
}

// ParseWait is like ParseDuration, but also accepts zero, such as "0s".
func ParseWait(field, s string) (time.Duration, error) {
	d, ok := parseDuration(s)
	if !ok || d < 0 {
		return 0, &Error{Code: ErrInvalidDuration.Code, Field: field, Message: ErrInvalidDuration.Message}
	}
	return d, nil
}

func parseDuration(s string) (time.Duration, bool) {
	if strings.ContainsAny(s, "+-") {
		return 0, false
	}
	days, rest, found := strings.Cut(s, "d")
	if !found {
		d, err := time.ParseDuration(s)
		return d, err == nil
	}
	// ParseFloat would take exponents, hexadecimal digits and infinities too.
	if strings.Trim(days, "0123456789.") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(days, 64)
	if err != nil || n*float64(day) >= math.MaxInt64 {
		return 0, false
	}
	total := time.Duration(math.Round(n * float64(day)))
	if rest == "" {
		return total, true
	}
	d, err := time.ParseDuration(rest)
	ok := err == nil && rest != "0" && total <= math.MaxInt64-d // a lone 0 is the one number without a unit
	return total + d, ok
}

// FormatDuration formats a duration so that ParseDuration can parse it, in days if
// it is at least one day.
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
