package page

import (
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"strings"
	"sync"
)

// wantContrast is what WCAG 2.2 asks of text, on level AA.
const wantContrast = 4.5

// A colour is an opaque one, in sRGB.
type colour [3]byte

// parseColour parses a colour as CSS has it, with or without its #: three or six
// hexadecimal digits.
func parseColour(s string) (c colour, err error) {
	digits := strings.TrimPrefix(s, "#")
	if len(digits) == 3 {
		digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
	}
	if len(digits) == 6 {
		_, err = hex.Decode(c[:], []byte(digits))
	}
	if len(digits) != 6 || err != nil {
		return colour{}, fmt.Errorf("%q is not a colour: want six hexadecimal digits, such as 4338ca", s)
	}
	return c, nil
}

func (c colour) String() string { return fmt.Sprintf("#%x", c[:]) }

// mixed returns a colour with a share of another in it, from 0 to 1.
func (c colour) mixed(other colour, share float64) (m colour) {
	for i := range c {
		m[i] = byte(math.Round(float64(c[i])*(1-share) + float64(other[i])*share))
	}
	return m
}

// luminance is the relative luminance that WCAG defines, from 0 to 1.
func (c colour) luminance() float64 {
	linear := func(channel byte) float64 {
		v := float64(channel) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

// contrast is the contrast ratio of two colours that WCAG defines, from 1 to 21.
func contrast(a, b colour) float64 {
	la, lb := a.luminance(), b.luminance()
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

// A scheme is one of the page's two colour schemes, as far as an accent matters.
type scheme struct {
	grounds []colour // what text in the accent stands on, of which the second is tinted
	tint    float64  // the share of the accent in the tinted ground
	extreme colour   // what the accent is mixed with until it can be read
	on      colour   // text on the accent
}

// The schemes are read from the style once a mount has an accent: commands start without.
var (
	light = sync.OnceValue(func() scheme {
		return scheme{grounds: grounds(0), tint: 0.08, extreme: colour{}, on: colour{255, 255, 255}}
	})
	dark = sync.OnceValue(func() scheme {
		return scheme{grounds: grounds(1), tint: 0.12, extreme: colour{255, 255, 255}, on: grounds(1)[0]}
	})
)

// grounds reads the colours of the page's grounds from its style, in the light scheme (0)
// or the dark one (1).
func grounds(scheme int) (all []colour) {
	for _, name := range []string{"ground", "surface", "raised", "sunken"} {
		all = append(all, styled(name, scheme))
	}
	return all
}

var pairs = regexp.MustCompile(`--([\w-]+): light-dark\((#\w+), (#\w+)\);`)

// styled returns the colour of a name in the page's style.
func styled(name string, scheme int) colour {
	for _, pair := range pairs.FindAllSubmatch(files["/page/style/base.css"], -1) {
		if string(pair[1]) == name {
			c, err := parseColour(string(pair[2+scheme]))
			if err != nil {
				panic(err) // the files are embedded
			}
			return c
		}
	}
	panic("the page's style has no " + name)
}

// accented is an accent in one scheme: itself, and a ground that is tinted with it.
type accented struct{ accent, ground colour }

// fit returns an accent that can be read in the scheme, and is as close to the wanted one
// as that allows: it is mixed with black in the light scheme, and with white in the dark.
func (s scheme) fit(wanted colour) (fitting accented) {
	for percent := range 101 {
		fitting.accent = wanted.mixed(s.extreme, float64(percent)/100)
		fitting.ground = s.grounds[1].mixed(fitting.accent, s.tint)
		if s.readable(fitting) {
			break
		}
	}
	return fitting
}

func (s scheme) readable(a accented) bool {
	for _, other := range append([]colour{s.on, a.ground}, s.grounds...) {
		if contrast(a.accent, other) < wantContrast {
			return false
		}
	}
	return true
}

// accentStyle returns the style that gives the page an accent.
func accentStyle(wanted colour) string {
	light, dark := light(), dark()
	l, d := light.fit(wanted), dark.fit(wanted)
	return fmt.Sprintf(":root {\n\t--accent: light-dark(%v, %v);\n\t--on-accent: light-dark(%v, %v);\n\t--accent-ground: light-dark(%v, %v);\n}\n",
		l.accent, d.accent, light.on, dark.on, l.ground, d.ground)
}
