package test

import (
	"bytes"
	"flag"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// pictures is where make screenshots wants them.
var pictures = flag.String("screenshots", "", "a directory to write the screenshots of the Settings page to")

// A look is what a page is shown on, and in which colours.
type look struct {
	name          string
	width, height int64
	scheme        string
	phone         bool
	key           string // the name of the key that is made on the way
}

var looks = []look{
	{"light", 1280, 800, "light", false, "Billing nightly"},
	{"dark", 1280, 800, "dark", false, "Billing weekly"},
	{"phone", 390, 844, "light", true, "Billing monthly"},
}

// show gives a tab a look.
func (b *tab) show(l look) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: l.width, Height: l.height, DeviceScaleFactor: pixels(), Mobile: l.phone,
	})
	must(b.t, err)
	_, err = chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: l.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	must(b.t, err)
}

// pixels returns how many pixels in a row make one of CSS: more where people will look.
func pixels() float64 {
	if *pictures != "" {
		return 2
	}
	return 1
}

// TestPage_screenshots takes a picture of each of the page's main states, light,
// dark and on a phone, and holds that something is on it.
func TestPage_screenshots(t *testing.T) {
	t.Parallel()
	dir := *pictures
	if dir == "" {
		dir = t.TempDir()
	}
	s := furnished(t)
	s.Create("globex", "Warehouse sync production", "full_access")
	s.Create("initech", "Zapier production", "read_only")
	_, err := s.Keys().Suspend(t.Context(), "initech", "Invoice 4711 is open")
	must(t, err)
	b := newCopier(t, s.origin())
	for _, look := range looks {
		b.show(look)
		b.open("about:blank")
		for _, state := range []struct {
			name string
			show func()
		}{
			{"keys", func() { b.open(s.page() + "#/acme"); b.sees("Expired 0", "requests in 30 days") }},
			{"create", func() { b.click("button", "Create key"); b.fill("Name", look.key); b.fill("Owner", "Finance") }},
			{"token", func() { b.click("button", "Create key"); b.sees("Copy the token of", "Download the reminder") }},
			{"rotation", func() {
				b.click("button", "Copy token")
				b.sees("Copied")
				b.keys(escape)
				b.open(s.page() + "#/acme")
				b.click("link", "Warehouse sync production")
				b.sees("Put the new token into the system")
			}},
			{"revoke", func() { b.click("button", "Revoke the old key"); b.sees("Revoke this key?") }},
			{"activity", func() { b.keys(escape); b.click("link", "Activity"); b.sees("resumed the workspace") }},
			{"choose", func() { b.open(s.page() + "#/"); b.sees("globex 1 0 0", "initech 1 0 0 Suspended") }},
			{"find", func() { b.fillBox("searchbox", "Key in any workspace", "production"); b.sees("Zapier production") }},
			{"signin", func() { b.open(s.origin() + "/token/"); b.sees("Admin token") }},
		} {
			state.show()
			picture := b.picture()
			if plain(t, picture) {
				t.Errorf("the picture of %s, %s, has nothing on it", state.name, look.name)
			}
			must(t, os.WriteFile(filepath.Join(dir, state.name+"-"+look.name+".png"), picture, 0o644))
		}
	}
}

// picture returns what is to be seen, as a PNG.
func (b *tab) picture() []byte {
	b.t.Helper()
	answer, err := chromedp.Call(b.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng})
	must(b.t, err)
	return answer.Data
}

// plain reports whether a picture is of one colour.
func plain(t *testing.T, encoded []byte) bool {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(encoded))
	must(t, err)
	bounds := picture.Bounds()
	first := picture.At(bounds.Min.X, bounds.Min.Y)
	for y := bounds.Min.Y; y < bounds.Max.Y; y += 7 {
		for x := bounds.Min.X; x < bounds.Max.X; x += 7 {
			if picture.At(x, y) != first {
				return false
			}
		}
	}
	return true
}

const escape = "\x1b"
