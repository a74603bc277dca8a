package page

import (
	"fmt"
	"strings"
	"testing"
)

// Whatever accent an operator chooses, all that is written in it, on it and on what is
// tinted with it can be read in both schemes.
func TestAccent_readable(t *testing.T) {
	for i, s := range []scheme{light(), dark()} {
		for step := range 5 * 5 * 5 {
			wanted := colour{shade(step), shade(step / 5), shade(step / 25)}
			got := s.fit(wanted)
			for _, pair := range [][2]colour{
				{got.accent, s.on}, {got.accent, got.ground}, {styled("text", i), got.ground}, {styled("muted", i), got.ground},
				{got.accent, styled("ground", i)}, {got.accent, styled("surface", i)}, {got.accent, styled("raised", i)}, {got.accent, styled("sunken", i)},
			} {
				if c := contrast(pair[0], pair[1]); c < 4.5 {
					t.Errorf("scheme %d, accent %v: got %v on %v, a contrast of %.2f, want 4.5", i, wanted, pair[0], pair[1], c)
				}
			}
		}
	}
}

// shade returns one of five steps from 0 to 255.
func shade(step int) byte { return byte(min(step%5*64, 255)) }

// An accent that can be read is not changed.
func TestAccent_kept(t *testing.T) {
	light, dark := light(), dark()
	for _, s := range []struct {
		scheme scheme
		colour string
	}{
		{light, "#4338ca"}, {light, "#0a6b4c"}, {light, "#000000"}, {dark, "#a5b0ff"}, {dark, "#ffffff"},
	} {
		wanted, err := parseColour(s.colour)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.scheme.fit(wanted).accent; got != wanted {
			t.Errorf("%v: got %v, want it unchanged", wanted, got)
		}
	}
}

func TestContrast(t *testing.T) {
	tests := []struct{ a, b, want string }{ // as other tools compute it
		{"000", "fff", "21.00"}, {"fff", "fff", "1.00"}, {"777777", "#ffffff", "4.48"}, {"#767676", "fff", "4.54"}, {"f00", "fff", "4.00"},
	}
	for _, tt := range tests {
		a, errA := parseColour(tt.a)
		b, errB := parseColour(tt.b)
		if got := fmt.Sprintf("%.2f", contrast(a, b)); got != tt.want || errA != nil || errB != nil {
			t.Errorf("%s on %s: got %s (%v, %v), want %s", tt.a, tt.b, got, errA, errB, tt.want)
		}
	}
}

// Whatever is taken for a colour, the style holds nothing but colours.
func FuzzAccentStyle(f *testing.F) {
	for _, seed := range []string{"4338ca", "#fff", "", "#", "red", "#fff;}", "ééé", "12345", "#00000g", "\x00\x00\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckAccent(s) != nil {
			return
		}
		style := string(siteFiles(Site{Accent: s})["/page/site.css"])
		if len(pairs.FindAllString(style, -1)) != 3 || strings.Count(style, "\n") != 5 || strings.Count(style, "}") != 1 {
			t.Errorf("%q: got the style %q, want three colours", s, style)
		}
	})
}
