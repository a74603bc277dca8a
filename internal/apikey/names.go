package apikey

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	minName  = 3
	MaxName  = 80
	maxOwner = 80
	// maxFoldedName bounds the folded form of a name, in bytes: one character can
	// fold to 32.
	maxFoldedName = 8 * MaxName
	maxReason     = 500
	maxWorkspace  = 64
)

// ParseName trims a key's name and checks its length and characters. Whether
// it is vague is decided by [IsVague].
func ParseName(s string) (string, error) {
	s = strings.TrimSpace(s)
	if problem := unprintable(s); problem != "" {
		return "", ErrInvalidName.because("A name cannot contain " + problem + ".")
	}
	if n := utf8.RuneCountInString(s); n < minName || n > MaxName {
		return "", ErrInvalidName.because(fmt.Sprintf("A name must have %d to %d characters; this one has %d.", minName, MaxName, n))
	}
	if len(FoldText(s)) > maxFoldedName || len(FoldName(s)) > maxFoldedName { // the first is the cheaper
		r := widest(s)
		return "", ErrInvalidName.because(fmt.Sprintf(`A name cannot have so many characters that stand for several others, such as "%c" (%U). Write out what they stand for, or use fewer of them.`, r, r))
	}
	if problem := mixedScripts(s); problem != "" {
		return "", ErrInvalidName.because("A name cannot mix scripts within a word: " + problem + ".")
	}
	return s, nil
}

// widest returns the character of a name that stands for the most others.
func widest(name string) rune {
	folded := func(r rune) int { return max(len(FoldText(string(r))), len(FoldName(string(r)))) }
	return slices.MaxFunc([]rune(name), func(a, b rune) int { return cmp.Compare(folded(a), folded(b)) })
}

// NameTaken returns an [ErrNameTaken] that explains why a name conflicts with that
// of an active key.
func NameTaken(name, active string) error {
	if FoldText(name) == FoldText(active) {
		return ErrNameTaken
	}
	return ErrNameTaken.because(fmt.Sprintf(`This name looks like "%s", the name of an active key in this workspace. Choose a name that tells them apart.`, active))
}

// ParseOwner trims a key's owner and checks it. No owner is a valid owner.
func ParseOwner(s string) (string, error) {
	return optionalText(s, maxOwner, ErrInvalidOwner, "An owner")
}

// ParseReason trims the reason of a revocation or suspension and checks it. No
// reason is a valid reason.
func ParseReason(s string) (string, error) {
	return optionalText(s, maxReason, ErrInvalidReason, "A reason")
}

func optionalText(s string, most int, refusal *Error, what string) (string, error) {
	s = strings.TrimSpace(s)
	if problem := unprintable(s); problem != "" {
		return "", refusal.because(what + " cannot contain " + problem + ".")
	}
	if n := utf8.RuneCountInString(s); n > most {
		return "", refusal.because(fmt.Sprintf("%s can have at most %d characters; this one has %d.", what, most, n))
	}
	return s, nil
}

// blanks are drawn as nothing, though Unicode has them as symbols and letters:
// an empty Braille cell, a musical note without a head, the placeholder of an
// embedded object, and fillers of Khitan and Egyptian script.
const blanks = "\u2800\U0001D159\uFFFC\U00016FE4\U00013441\U00013442"

// unprintable describes what in s people could not see, or could be misled by.
func unprintable(s string) string {
	if problem := unsafe(s); problem != "" {
		return problem
	}
	before := ' '
	for _, r := range s {
		if strings.ContainsRune(blanks, r) ||
			unicode.Is(unicode.Variation_Selector, r) && (unicode.IsSpace(before) || unicode.Is(unicode.Variation_Selector, before)) { // it changes nothing
			return fmt.Sprintf("the invisible character %U", r)
		}
		before = r
	}
	return ""
}

// unsafe describes what in s no text may contain, whichever version accepted it.
func unsafe(s string) string {
	if !utf8.ValidString(s) {
		return "bytes that are not UTF-8"
	}
	if HoldsToken(s) {
		return "a token: it is stored, and shown to others"
	}
	for _, r := range s {
		switch {
		case ' ' <= r && r <= '~': // as most characters are, and none of the below
		case r == utf8.RuneError:
			return "the replacement character U+FFFD"
		case unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp):
			return fmt.Sprintf("the control character or line break %U", r)
		// Cf has the bidirectional overrides and the zero-width characters; the
		// other default-ignorable characters are blank as well.
		case r >= 0xFDD0 && r <= 0xFDEF || r&0xFFFE == 0xFFFE:
			return fmt.Sprintf("%U, which is not a character", r)
		case unicode.In(r, unicode.Cf, unicode.Co, unicode.Other_Default_Ignorable_Code_Point):
			return fmt.Sprintf("the invisible character %U", r)
		}
	}
	return ""
}

// vague are names that do not help to find the key to revoke. They are compared
// without case, spaces, punctuation and trailing digits.
var vague = map[string]bool{
	"": true, "abc": true, "api": true, "apikey": true, "apitoken": true, "asdf": true, "bar": true, "default": true, "defaultkey": true,
	"foo": true, "key": true, "mykey": true, "myapikey": true, "mytest": true, "mytoken": true, "name": true, "new": true,
	"newapikey": true, "newkey": true, "newtoken": true, "noname": true, "none": true, "null": true, "secret": true,
	"temp": true, "temporary": true, "test": true, "testing": true, "testkey": true, "testapikey": true, "testtest": true, "testtoken": true,
	"tmp": true, "token": true, "unnamed": true, "untitled": true, "untitledkey": true, "xxx": true,
}

// VagueNames returns the names that are vague, in the form in which [IsVague]
// compares them.
func VagueNames() []string {
	names := slices.Sorted(maps.Keys(vague))
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// IsVague reports whether a name says nothing about what uses the key.
func IsVague(name string) bool {
	letters := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, FoldText(name))
	return vague[strings.TrimRightFunc(letters, unicode.IsDigit)]
}

// ValidateWorkspaceID returns [ErrInvalidWorkspace] if s is not a workspace id.
// A token has only valid characters, but is refused because ids are stored and shown.
func ValidateWorkspaceID(s string) error {
	if len(s) == 0 || len(s) > maxWorkspace || s[0] == '.' || HoldsToken(s) {
		return ErrInvalidWorkspace
	}
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return ErrInvalidWorkspace
		}
	}
	return nil
}
