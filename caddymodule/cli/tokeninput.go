package cli

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// tokenShaped is what looks like a token, in whatever it was found: behind
// "Bearer", in quotes, or as the value of a variable.
var tokenShaped = regexp.MustCompile(`[a-z][a-z0-9_]*_[0-9A-Za-z]{49}\b`)

// maxTokenInput bounds what is read to find one token in it.
const maxTokenInput = 64 << 10

// readToken reads the one token that standard input holds. What does not look
// like one is returned as it is, for the server to say what is wrong with it.
func readToken(cmd *cobra.Command) (string, error) {
	in, err := stdin(cmd)
	if err != nil {
		return "", err
	}
	return tokenIn(in)
}

// tokenIn returns the one token of a text.
func tokenIn(in io.Reader) (string, error) {
	content, err := io.ReadAll(io.LimitReader(in, maxTokenInput))
	if err != nil {
		return "", fmt.Errorf("reading the token from standard input: %w", err)
	}
	text, err := apikey.PlainText(content)
	if err != nil {
		return "", fmt.Errorf("the token on standard input: %w", err)
	}
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	var found []string
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" {
			found = append(found, line)
		}
	}
	tokens := tokenShaped.FindAllString(text, -1)
	switch {
	case len(found) == 0:
		return "", usagef("a token is wanted on standard input")
	case len(tokens) == 1:
		return tokens[0], nil
	case len(found) > 1 || len(tokens) > 1:
		return "", usagef("one token at a time is wanted on standard input")
	}
	return found[0], nil
}

// tokenInside is a token with whatever stands right behind it.
var tokenInside = regexp.MustCompile(`[a-z][a-z0-9_]*_[0-9A-Za-z]{49}\w*`)

// withoutTokens blanks what looks like a token: what is printed may be kept.
func withoutTokens(text string) string { return tokenInside.ReplaceAllString(text, "[a token]") }
