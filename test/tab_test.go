package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is a tab of a real Chromium, driven as a person would: what is clicked and
// typed into is found by its role and its name, as a screen reader tells them.
type tab struct {
	screen
	ctx context.Context

	mu       sync.Mutex
	requests []string // the addresses of all that it asked for
	troubles []string // what the browser complained of: exceptions, violated policies
	prompts  int      // how often it asked whether to leave the page
}

// note keeps what a test may want to know of the traffic and of the troubles.
func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, event.Request.Method+" "+event.Request.URL)
	case *runtime.EventExceptionThrown:
		trouble := event.ExceptionDetails.Text
		if thrown := event.ExceptionDetails.Exception; thrown != nil {
			trouble += " " + thrown.Description
		}
		b.troubles = append(b.troubles, trouble)
	case *cdplog.EventEntryAdded:
		if event.Entry.Source != cdplog.EntrySourceNetwork { // a refusal is an answer
			b.troubles = append(b.troubles, event.Entry.Text)
		}
	case *page.EventJavascriptDialogOpening:
		b.prompts++
		go func() { // the next event waits for this one
			_, _ = chromedp.Call(b.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}()
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatalf("in the browser: %v", err)
	}
}

// open goes to an address.
func (b *tab) open(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
}

// eval returns what a JavaScript expression is, after its promise if it is one.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("evaluating %s: %v", expression, err)
	}
	return value
}

// shown is the text of the tab's screen. While the tab goes from one page to another
// there is none.
func (b *tab) shown() string {
	shown, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](shownText))
	if err != nil {
		return ""
	}
	return squeezed(shown)
}

// find returns the one element that has a role, and a name that is or begins
// with the given one.
func (b *tab) find(role, name string) (cdp.BackendNodeID, error) {
	root, err := chromedp.Call(b.ctx, dom.GetDocument, dom.GetDocumentParams{})
	if err != nil {
		return 0, err
	}
	tree, err := chromedp.Call(b.ctx, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{NodeID: root.Root.NodeID, Role: role})
	if err != nil {
		return 0, err
	}
	var exact, begun []cdp.BackendNodeID
	for _, node := range tree.Nodes {
		switch called := nameOf(node); {
		case node.Ignored:
		case called == name:
			exact = append(exact, node.BackendDOMNodeID)
		case strings.HasPrefix(called, name):
			begun = append(begun, node.BackendDOMNodeID)
		}
	}
	if len(exact) == 0 {
		exact = begun
	}
	if len(exact) != 1 {
		return 0, fmt.Errorf("there are %d of them", len(exact))
	}
	return exact[0], nil
}

// nameOf returns the name of an element in the accessibility tree.
func nameOf(node *accessibility.Node) string {
	if node.Name == nil {
		return ""
	}
	var name string
	if json.Unmarshal(node.Name.Value, &name) != nil {
		return ""
	}
	return squeezed(name)
}

// click presses the mouse on an element, once it is there.
func (b *tab) click(role, name string) {
	b.t.Helper()
	b.await(fmt.Sprintf("the %s %q", role, name), func() error {
		id, err := b.find(role, name)
		if err != nil {
			return err
		}
		return b.press(id)
	})
}

// press presses the mouse in the middle of an element.
func (b *tab) press(id cdp.BackendNodeID) error {
	if _, err := chromedp.Call(b.ctx, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: id}); err != nil {
		return err
	}
	answer, err := chromedp.Call(b.ctx, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: id})
	if err != nil {
		return err
	}
	if len(answer.Quads) == 0 {
		return errors.New("it takes no room")
	}
	box := answer.Quads[0]
	return chromedp.Do(b.ctx, chromedp.MouseClickXY((box[0]+box[4])/2, (box[1]+box[5])/2))
}

// fill puts a value into a text box, in place of what is there.
func (b *tab) fill(name, value string) { b.t.Helper(); b.fillBox("textbox", name, value) }

func (b *tab) fillBox(role, name, value string) {
	b.t.Helper()
	b.click(role, name)
	eval[any](b, `void document.activeElement.select()`)
	b.insert(value)
}

// insert puts text where the focus is, as a paste does.
func (b *tab) insert(text string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, input.InsertText, input.InsertTextParams{Text: text})
	must(b.t, err)
}

// keys presses keys, one after the other.
func (b *tab) keys(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		b.do(chromedp.KeyEvent(key))
	}
}

// allow gives a site permissions, as a person would when asked.
func (b *tab) allow(origin string, permissions ...string) {
	b.t.Helper()
	for _, permission := range permissions {
		_, err := chromedp.CallBrowser(b.ctx, browser.SetPermission, browser.SetPermissionParams{
			BrowserContextID: b.profile(), Origin: origin, Setting: browser.PermissionSettingGranted, Permission: &browser.PermissionDescriptor{Name: permission},
		})
		must(b.t, err)
	}
}

// asked returns how often the browser asked whether to leave the page.
func (b *tab) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.prompts
}

// calm holds that nothing was wrong on the page, that it asked nobody but the
// given origin, and that no secret was in an address.
func (b *tab) calm(origin string, secrets ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, trouble := range b.troubles {
		b.t.Errorf("the browser complains: %s", trouble)
	}
	for _, request := range b.requests {
		_, address, _ := strings.Cut(request, " ")
		if !staysWithin(origin, address) {
			b.t.Errorf("got the request %s, want none but of %s", request, origin)
		}
		for _, secret := range secrets {
			if strings.Contains(address, secret) {
				b.t.Errorf("the request %s has a secret in its address", request)
			}
		}
	}
}

// staysWithin reports whether loading an address asks nobody but an origin. Browsers draw
// the signs on some controls with pictures and letters of their own, from data.
func staysWithin(origin, address string) bool {
	return strings.HasPrefix(address, origin+"/") || strings.HasPrefix(address, "blob:"+origin+"/") || strings.HasPrefix(address, "data:")
}
