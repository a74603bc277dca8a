package apikey

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"go.mau.fi/util/confusable"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// FoldText returns the form in which text is searched and compared: normalized,
// in one case, with single spaces (a web page shows several as one), and
// without the variation selectors that choose between two drawings of a
// character.
func FoldText(s string) string {
	// The hint of a token has an ellipsis, and there are more hints than names.
	if ascii := strings.ReplaceAll(s, "…", "..."); isASCII(ascii) {
		return singleSpaced(strings.ToLower(ascii))
	}
	return foldUnicode(s)
}

func foldUnicode(s string) string {
	seen := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Variation_Selector, r) {
			return -1
		}
		return r
	}, s)
	folded := cases.Fold().String(norm.NFKC.String(seen))
	// Fold swaps the two cases of Cherokee, instead of making one of them.
	lower := strings.ToLower(folded)
	return singleSpaced(norm.NFKC.String(lower))
}

func singleSpaced(s string) string {
	if isSingleSpaced(s) {
		return s
	}
	return strings.Join(strings.Fields(s), " ")
}

// isSingleSpaced recognizes what most text is already: ASCII with nothing but single
// spaces inside.
func isSingleSpaced(s string) bool {
	before := byte(' ')
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf || c < ' ' || c == ' ' && before == ' ' {
			return false
		}
		before = c
	}
	return before != ' ' || s == ""
}

// FoldName returns the form of a name that is unique among the active keys of a
// workspace: two names have the same one if a person could take one for the
// other. It is [FoldText] with every character replaced by the one it looks
// like, which is the skeleton of UTS 39, section 4.
func FoldName(name string) string {
	folded := FoldText(name)
	for {
		// What a character looks like can be folded, or look like something else.
		next := FoldText(skeleton(folded))
		if next == folded {
			return folded
		}
		folded = next
	}
}

func skeleton(folded string) string {
	ascii := asciiLookalikes()
	var b strings.Builder
	b.Grow(len(folded))
	for _, r := range norm.NFD.String(folded) {
		if int(r) < len(ascii) {
			b.WriteString(ascii[r])
			continue
		}
		b.WriteString(lookalike(r))
	}
	return b.String()
}

// asciiLookalikes has what each ASCII character looks like: most names consist of them.
var asciiLookalikes = sync.OnceValue(func() (all []string) {
	for r := rune(0); r <= unicode.MaxASCII; r++ {
		all = append(all, lookalike(r))
	}
	return all
})

// lookalike returns what a character in lower case looks like: first as a
// capital, because names that differ only in case are the same, and capitals of
// several scripts are drawn like Latin ones. So i is the same as l, as I is.
func lookalike(r rune) string {
	if capital := confusable.GetReplacement(unicode.ToUpper(r)); capital != "" && isASCII(capital) {
		return capital
	}
	return cmp.Or(confusable.GetReplacement(r), string(r))
}

// foldVersion is to be increased when FoldName itself is changed.
const foldVersion = 1

// lastConfusable is the last character of the last plane with letters.
const lastConfusable = 0x3ffff

// FoldData identifies the version and data by which this build folds names. With
// others, a name can have another form.
var FoldData = sync.OnceValue(func() string {
	data := sha256.New()
	fmt.Fprintln(data, foldVersion, unicode.Version, norm.Version, cases.UnicodeVersion)
	for r := rune(0); r <= lastConfusable; r++ {
		if replacement := confusable.GetReplacement(r); replacement != "" {
			fmt.Fprintln(data, r, replacement)
		}
	}
	return hex.EncodeToString(data.Sum(nil))
})

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}
