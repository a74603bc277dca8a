package apikey

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// A foreign token was issued by another program, and its key was imported. It has the
// syntax of a bearer token (b64token in RFC 6750, section 2.1), and no checksum.
const (
	minForeignLength = 16
	maxForeignLength = 512
	minHintedLength  = 24 // of a foreign token: what its hint shows must be little of it
)

// ParseAnyToken accepts what [ParseToken] does, and also a foreign token of 16 to 512
// characters. Whatever begins with the current prefix or an earlier one, and an underscore,
// is not a foreign token: it is one of ours that was mistyped or cut short. earlier may be
// nil. Like ParseToken, it is small enough to be inlined.
func ParseAnyToken(s, current string, earlier *Prefixes) (Token, bool) {
	if !anyForm(s, current, earlier) {
		return Token{}, false
	}
	return Token{&s}, true
}

func anyForm(s, current string, earlier *Prefixes) bool {
	if wellFormed(s) {
		return true
	}
	return foreignForm(s) && !beginsWith(s, current) && !earlier.begin(s)
}

// foreignForm reports whether a text can be a foreign token.
func foreignForm(s string) bool {
	if len(s) < minForeignLength || len(s) > maxForeignLength {
		return false
	}
	end := len(s)
	for end > 0 && s[end-1] == '=' {
		end--
	}
	for i := range end {
		if c := s[i]; c == '=' || !inToken(rune(c)) {
			return false
		}
	}
	return end > 0
}

// inToken reports whether a character can be in a foreign token.
func inToken(c rune) bool {
	return c < utf8.RuneSelf && (isAlphanumeric(byte(c)) || strings.IndexByte("-._~+/=", byte(c)) >= 0)
}

func beginsWith(s, prefix string) bool {
	return len(s) > len(prefix) && s[len(prefix)] == '_' && s[:len(prefix)] == prefix
}

// foreignHint returns the hint of a foreign token.
func foreignHint(s string) string {
	if len(s) < minHintedLength {
		return "…"
	}
	return "…" + s[len(s)-hintLength:]
}

// HintPrefix returns the prefix of the token that [Token.Hint] has described, "" if the
// hint is not of one of our tokens.
func HintPrefix(hint string) string {
	prefix, _, ours := strings.Cut(hint, "_…")
	if !ours || !validPrefix(prefix) {
		return ""
	}
	return prefix
}

// Prefixes is a set of token prefixes, which only grows. The zero value is empty, and so
// is a nil *Prefixes. It is safe for concurrent use, and reading it takes no lock.
type Prefixes struct {
	adding sync.Mutex
	set    atomic.Pointer[map[string]bool]
}

// Add adds prefixes.
func (p *Prefixes) Add(prefixes ...string) {
	if len(prefixes) == 0 {
		return
	}
	p.adding.Lock()
	defer p.adding.Unlock()
	next := make(map[string]bool)
	if known := p.set.Load(); known != nil {
		maps.Copy(next, *known)
	}
	for _, prefix := range prefixes {
		next[prefix] = true
	}
	p.set.Store(&next)
}

// begin reports whether a text begins with one of the prefixes and an underscore.
func (p *Prefixes) begin(s string) bool {
	if p == nil {
		return false
	}
	known := p.set.Load()
	if known == nil {
		return false
	}
	for i := minPrefix; i <= maxPrefix && i < len(s); i++ {
		if s[i] == '_' && (*known)[s[:i]] {
			return true
		}
	}
	return false
}
