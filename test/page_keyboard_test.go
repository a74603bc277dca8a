package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

const (
	tabKey     = "\t"
	space      = " "
	arrowDown  = "\u0301"
	arrowUp    = "\u0304"
	home       = "\u0306"
	end        = "\u0305"
	arrowRight = "\u0303"
)

// A focus is what the keyboard is at.
type focus struct {
	Tag, Name string
	Seen      bool // it is on the screen, with a ring around it
	Inside    bool // it is in the dialog, if one is open
}

// focused returns what has the focus. A ring may be around what stands for it: the
// words of a radio button that is not drawn, or the whole row of a link.
func (b *tab) focused() focus {
	b.t.Helper()
	return eval[focus](b, `(() => {
		const element = document.activeElement;
		const dialog = document.querySelector("dialog");
		const rings = [getComputedStyle(element), getComputedStyle(element, "::after"), getComputedStyle(element.nextElementSibling ?? element)];
		const box = element.getBoundingClientRect();
		return {
			tag: element.localName,
			name: (element.labels?.[0] ?? element).innerText.replace(/\s+/g, " ").trim(),
			seen: rings.some((ring) => ring.outlineStyle !== "none" && parseFloat(ring.outlineWidth) >= 2) &&
				box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
			inside: !dialog || dialog.contains(element),
		};
	})()`)
}

// wantFocus waits until something has the focus.
func (b *tab) wantFocus(tag, name string) {
	b.t.Helper()
	b.await(fmt.Sprintf("the focus on the %s %q", tag, name), func() error {
		if got := b.focused(); got.Tag != tag || !strings.HasPrefix(got.Name, name) {
			return fmt.Errorf("it is on the %s %q", got.Tag, got.Name)
		}
		return nil
	})
}

// tabTo presses Tab until something has the focus, and holds that the focus is
// seen at every stop on the way, and stays in the dialog if one is open.
func (b *tab) tabTo(tag, name string) {
	b.t.Helper()
	for range 40 {
		b.keys(tabKey)
		got := b.focused()
		if got.Tag == "body" { // the browser's own controls
			continue
		}
		if !got.Seen {
			b.t.Errorf("the focus on the %s %q is not seen", got.Tag, got.Name)
		}
		if !got.Inside {
			b.t.Errorf("the focus on the %s %q is outside the dialog", got.Tag, got.Name)
		}
		if got.Tag == tag && strings.HasPrefix(got.Name, name) {
			return
		}
	}
	b.t.Fatalf("Tab does not get to the %s %q; the page shows:\n%s", tag, name, b.text())
}

// tabBack presses Shift and Tab.
func (b *tab) tabBack() {
	b.t.Helper()
	b.do(chromedp.KeyEvent(tabKey, chromedp.KeyModifiers(chromedp.ModifierShift)))
}

// TestPage_keyboard is a key's whole life with the keyboard alone.
func TestPage_keyboard(t *testing.T) {
	t.Parallel()
	s := start(t, pageConfig)
	b := newCopier(t, s.origin())
	b.open(s.page() + "#/acme")
	b.sees("No keys yet")

	b.keys(tabKey)
	b.wantFocus("a", "Skip to the content")
	if !b.focused().Seen {
		t.Error("the link to the content is not seen when it has the focus")
	}
	b.keys(enter)
	b.wantFocus("main", "")
	b.keys(tabKey)
	b.wantFocus("button", "Reminders")

	b.tabTo("button", "Create the first key")
	b.keys(enter)
	b.wantFocus("input", "Name")
	b.keys(escape)
	b.wantFocus("button", "Create the first key")
	b.keys(space)
	b.wantFocus("input", "Name")
	b.insert("test")
	b.keys(enter)
	b.sees("This says nothing about what uses the key")
	b.wantFocus("input", "Name")
	eval[any](b, `void document.activeElement.select()`)
	b.insert("Zapier production")
	b.tabTo("input", "Owner")
	b.insert("Ops")
	b.tabTo("input", "Read only")
	b.keys(arrowDown)
	b.wantFocus("input", "Full access")
	b.tabTo("select", "Expires")
	b.tabTo("button", "Create key")
	b.tabBack()
	b.wantFocus("button", "Cancel")
	b.tabTo("button", "Create key")
	b.tabTo("input", "Name") // round, and not out of the dialog
	b.tabTo("button", "Create key")
	b.keys(space)
	b.copyByKeyboard()
	b.sees("Zapier production Ops Full access")
	b.wantFocus("h1", "API keys") // the button for the first key is gone

	b.tabTo("button", "Create key")
	b.keys(enter)
	b.wantFocus("input", "Name")
	b.insert("Warehouse sync")
	b.keys(enter)
	b.copyByKeyboard()
	b.wantFocus("button", "Create key")

	b.tabTo("input", "Active")
	b.keys(arrowRight)
	b.sees("Nothing needs attention")
	b.wantFocus("input", "Needs attention")
	b.tabTo("a", "Keys")
	b.keys(arrowDown) // scrolls, and does nothing else
	b.wantFocus("a", "Keys")
	b.tabTo("input", "Needs attention")
	b.keys(arrowRight, arrowRight, arrowRight)
	b.sees("Zapier production")

	b.tabTo("a", "Zapier production")
	b.keys(enter)
	b.wantFocus("h1", "Zapier production")
	b.tabTo("button", "Rotate")
	b.keys(space)
	b.wantFocus("input", "Name of the replacement")
	b.keys(enter)
	b.copyByKeyboard()
	b.sees("The new key has not been used yet")
	b.wantFocus("h1", "Zapier production") // Rotate is gone

	b.tabTo("button", "Revoke the old key")
	b.keys(enter)
	b.wantFocus("h2", "Revoke this key?")
	b.keys(escape)
	b.wantFocus("button", "Revoke the old key")
	b.keys(enter)
	b.tabTo("input", "Reason")
	b.tabTo("button", "Revoke key")
	b.keys(enter)
	b.sees("It cannot be reactivated")
	b.wantFocus("h1", "Zapier production")

	b.tabTo("a", "Activity")
	b.keys(enter)
	b.sees("revoked Zapier production")
	b.wantFocus("h1", "Activity")
	b.tabTo("a", "Keys")
	b.keys(enter)
	b.wantFocus("h1", "API keys")
	b.calm(s.origin())
}

// copyByKeyboard copies the token that is shown, and closes its dialog.
func (b *tab) copyByKeyboard() {
	b.t.Helper()
	b.sees("Copy the token of")
	b.wantFocus("h2", "Copy the token of")
	b.tabTo("code", "agk_")
	b.tabTo("button", "Copy token")
	b.keys(enter)
	b.sees("Copied")
	b.wantFocus("button", "Copied")
	b.keys(escape)
	b.misses("Copy the token of")
}
