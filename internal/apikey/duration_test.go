package apikey

import (
	"errors"
	"math"
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	cases := []struct {
		in   string
		want time.Duration
	}{
		{"1ns", 1},
		{"90s", 90 * time.Second},
		{"36h", 36 * time.Hour},
		{"1h30m", 90 * time.Minute},
		{"1.5h", 90 * time.Minute},
		{"1d", day},
		{"90d", 90 * day},
		{"0.5d", 12 * time.Hour},
		{".5d", 12 * time.Hour},
		{"1.d", day},
		{"007d", 7 * day},
		{"0.57d", 13*time.Hour + 40*time.Minute + 48*time.Second},
		{"8.3d", 8*day + 7*time.Hour + 12*time.Minute},
		{"1d12h", 36 * time.Hour},
		{"1.5d12h", 48 * time.Hour},
		{"0d5h", 5 * time.Hour},
		{"1d1ns", day + 1},
		{"2562047h47m16.854775807s", math.MaxInt64},
		{"106751d23h47m16.854775807s", math.MaxInt64},
	}
	for _, c := range cases {
		if got, err := ParseDuration("expires_in", c.in); err != nil || got != c.want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", c.in, got, err, c.want)
		}
	}
}

func TestParseDuration_rejects(t *testing.T) {
	for _, in := range []string{
		"", " ", "0", "0s", "0d", "0d0h", "-1h", "-1d", "+1h", "+1d", "1d-1h", "1d+1h", "1d-0s", "-0d1h",
		"1", "90", "d", ".d", "1dd", "1d1d", "12h1d", "1D", "1 d", "1d 12h", " 1d", "1d ", "1d12", "1w",
		"1e2d", "0x1p4d", "0x10d", "1_000d", "Infd", "NaNd", "nand", "1,5d", "1.2.3d", "٣d", "1d\x00",
		"106752d", "106751d24h", "1e300d", "99999999999999999999d", "2562048h", "0.000000000000000001d",
	} {
		got, err := ParseDuration("expires_in", in)
		if !errors.Is(err, ErrInvalidDuration) || got != 0 {
			t.Errorf("ParseDuration(%q) = %v, %v, want 0, %v", in, got, err, ErrInvalidDuration)
			continue
		}
		if field := err.(*Error).Field; field != "expires_in" {
			t.Errorf("ParseDuration(%q): got field %q, want expires_in", in, field)
		}
	}
	if ErrInvalidDuration.Field != "" {
		t.Error("the shared error was given a field")
	}
}

func TestFormatDuration(t *testing.T) {
	cases := []struct {
		in   time.Duration
		want string
	}{
		{time.Nanosecond, "1ns"},
		{90 * time.Second, "1m30s"},
		{day - 1, "23h59m59.999999999s"},
		{day, "1d"},
		{36 * time.Hour, "1d12h0m0s"},
		{90 * day, "90d"},
		{math.MaxInt64, "106751d23h47m16.854775807s"},
	}
	for _, c := range cases {
		if got := FormatDuration(c.in); got != c.want {
			t.Errorf("FormatDuration(%d) = %q, want %q", c.in, got, c.want)
		}
	}
}

// What one writes, the other reads.
func TestFormatDuration_roundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := time.Duration(rapid.Int64Range(1, math.MaxInt64).Draw(t, "duration"))
		if got, err := ParseDuration("", FormatDuration(want)); err != nil || got != want {
			t.Fatalf("ParseDuration(%q) = %v, %v, want %v", FormatDuration(want), got, err, want)
		}
	})
}

// durationForm is all that a duration may be written with.
var durationForm = regexp.MustCompile(`\A(([0-9]+\.?[0-9]*|\.[0-9]+)(d|h|m|s|ms|us|µs|μs|ns))+\z`)

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"90d", "1d12h", "36h", "0.5d", "106751d", "106752d", "1d-1h", "+1h", "1e2d", "Infd", "d", "", "1µs", "53376d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseDuration("f", s)
		if err != nil {
			if !errors.Is(err, ErrInvalidDuration) || got != 0 {
				t.Fatalf("ParseDuration(%q) = %v, %v", s, got, err)
			}
			return
		}
		if got <= 0 {
			t.Errorf("ParseDuration(%q) = %v, want more than zero", s, got)
		}
		if !durationForm.MatchString(s) {
			t.Errorf("ParseDuration(%q) accepted it", s)
		}
		again, err := ParseDuration("f", FormatDuration(got))
		if err != nil || again != got {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", FormatDuration(got), again, err, got)
		}
	})
}
