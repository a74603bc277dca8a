package test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// newTab opens a tab in a profile of its own of the one Chromium that all tests share: it
// takes less time than to start one. Profiles share nothing but the clipboard.
func newTab(t *testing.T) *tab {
	t.Helper()
	chromium, err := sharedChromium(testenv.Tool(t, "chromium"))
	must(t, err)
	return openTab(t, chromium, chromedp.WithNewBrowserContext())
}

// newCopier opens a tab in a Chromium of its own, whose clipboard no other test writes to,
// and lets a site use that.
func newCopier(t *testing.T, origin string) *tab {
	t.Helper()
	own, stop, err := newChromium(t.Context(), testenv.Tool(t, "chromium"))
	must(t, err)
	t.Cleanup(stop)
	b := openTab(t, own)
	b.mayCopy(origin)
	return b
}

// shared is the Chromium that tests share. The first one that needs it starts it.
var shared struct {
	start sync.Once
	ctx   context.Context
	stop  func()
	err   error
}

func sharedChromium(program string) (context.Context, error) {
	shared.start.Do(func() {
		var allocator context.Context
		allocator, shared.stop, shared.err = newChromium(context.Background(), program)
		if shared.err == nil {
			shared.ctx, _ = chromedp.NewContext(allocator)
			shared.err = chromedp.Do(shared.ctx)
		}
	})
	return shared.ctx, shared.err
}

// stopSharedChromium stops it, if it was started.
func stopSharedChromium() {
	if shared.stop != nil {
		shared.stop()
	}
}

// newChromium prepares a Chromium with an empty profile. It returns its allocator, and a
// function that stops it.
func newChromium(parent context.Context, program string) (allocator context.Context, stop func(), err error) {
	profile, err := os.MkdirTemp("", "chromium-")
	if err != nil {
		return nil, nil, err
	}
	allocator, cancel := chromedp.NewExecAllocator(parent,
		chromedp.ExecPath(program), chromedp.UserDataDir(profile), chromedp.Env("HOME="+profile),
		chromedp.Headless, chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.DisableGPU,
		chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("accept-lang", "en-US"), // whatever the machine speaks
		chromedp.WSURLReadTimeout(time.Minute),
	)
	return allocator, func() { cancel(); _ = os.RemoveAll(profile) }, nil
}

// profile is the tab's profile, "" if it is the only one of its Chromium.
func (b *tab) profile() cdp.BrowserContextID { return chromedp.FromContext(b.ctx).BrowserContextID }

// another opens a second tab of the same profile.
func (b *tab) another() *tab { return openTab(b.t, b.ctx) }

func openTab(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, stop := chromedp.NewContext(parent, options...)
	t.Cleanup(stop)
	b := &tab{ctx: ctx}
	b.screen = screen{t, b.shown}
	must(t, chromedp.Listen(ctx, b.note))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	must(t, err)
	_, err = chromedp.Call(ctx, cdplog.Enable, cdp.Empty{})
	must(t, err)
	_, err = chromedp.Call(ctx, accessibility.Enable, cdp.Empty{})
	must(t, err)
	return b
}
