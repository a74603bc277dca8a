package cli

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// What may be a token that another program issued has the characters of such tokens
// (b64token in RFC 6750), and as many as the shortest. The Settings page has the same
// rules: test/testdata/addresses.json has what both have to make of some texts.
var (
	foreign      = regexp.MustCompile(`[\w.~+/-]{16,}=*`)
	partOfID     = regexp.MustCompile(`^(?i)key_0[0-9A-HJKMNP-TV-Z]{0,25}$`)
	wordOrNumber = regexp.MustCompile(`^([A-Z]?[a-z]*|[A-Z]+|[0-9]{1,4})$`)
	letter       = regexp.MustCompile(`[A-Za-z]`)
	between      = regexp.MustCompile(`[^0-9A-Za-z]+`)
)

// isReadable reports whether characters are no token: the id of a key, whole or not, or
// words and short numbers with anything between them.
func isReadable(characters string) bool {
	return partOfID.MatchString(characters) || letter.MatchString(characters) &&
		!slices.ContainsFunc(between.Split(characters, -1), func(one string) bool { return one != "" && !wordOrNumber.MatchString(one) })
}

// inAddress returns what of a text may be in an address, which the server logs: all of it,
// unless a token of another program may be in it. Then it is the last four characters of
// that, which find whatever has all of it, and more.
func inAddress(text string) string {
	for _, word := range foreign.FindAllString(text, -1) {
		if !isReadable(word) {
			return word[len(word)-4:]
		}
	}
	return text
}

// soughtText returns what is searched for when a text is given, and says so if that is not
// the whole text.
func soughtText(cmd *cobra.Command, text string) (string, error) {
	if err := refuseToken(text); err != nil {
		return "", err
	}
	sought := inAddress(text)
	if sought != text {
		_ = say(cmd.ErrOrStderr(), "That may contain a token, which would be logged: only its last four characters, %s, are searched for\n", sought)
	}
	return sought, nil
}

// quotes are what a token may be in where it is copied from, in a header or a file.
const quotes = ` "'`

// meant returns those of the keys found that a text means, of which only a part was sought:
// those that have all of it, and, if it may be a token, those whose hint ends like it.
func meant(found []client.Key, text, sought string) []client.Key {
	if sought == text {
		return found
	}
	text, sought = apikey.FoldText(text), apikey.FoldText(sought)
	token := strings.Trim(strings.TrimPrefix(strings.Trim(text, quotes), "bearer "), quotes)
	isToken := foreign.FindString(token) == token
	return slices.DeleteFunc(found, func(key client.Key) bool {
		has := func(field string) bool { return strings.Contains(apikey.FoldText(field), text) }
		return !slices.ContainsFunc([]string{key.Name, key.Owner, key.ID, key.TokenHint}, has) &&
			!(isToken && strings.HasSuffix(apikey.FoldText(key.TokenHint), sought))
	})
}
