package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// maxTokenInput is the most that is read from standard input to find a token in it.
const maxTokenInput = 64 << 10

// readToken reads a token from standard input. Text that does not look like one is
// returned as it is, so that the server says what is wrong with it.
func readToken(cmd *cobra.Command) (string, error) {
	in, err := stdin(cmd)
	if err != nil {
		return "", err
	}
	if in == os.Stdin && term.IsTerminal(int(os.Stdin.Fd())) {
		typed, err := typedToken(cmd.Context(), cmd.ErrOrStderr())
		if err != nil {
			return "", err
		}
		in = bytes.NewReader(typed)
	}
	return tokenIn(in)
}

// typedToken asks for a token on the terminal, and shows none of it.
func typedToken(ctx context.Context, prompt io.Writer) ([]byte, error) {
	terminal := int(os.Stdin.Fd())
	before, err := term.GetState(terminal)
	if err != nil {
		return nil, err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	_ = say(prompt, "Token: ")
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(terminal)
		read <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		_ = term.Restore(terminal, before)
		_ = say(prompt, "\n")
		return nil, errors.New("interrupted")
	case typed := <-read:
		_ = say(prompt, "\n")
		return typed.text, typed.err
	}
}

// tokenIn returns the token in a text.
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
	tokens := apikey.FindTokens(text)
	switch {
	case len(found) == 0:
		return "", usagef("write a token to standard input")
	case len(tokens) == 1 && len(found) == 1 && isForeign(found[0], tokens[0]):
		return found[0], nil
	case len(tokens) == 1:
		return tokens[0], nil
	case len(tokens) > 1:
		return "", usagef("write only one token to standard input")
	case len(found) > 1:
		return "", usagef("write one token on one line to standard input, not %d lines", len(found))
	}
	return found[0], nil
}

// isForeign reports whether a line is a foreign token, of which a part looks like one of
// ours.
func isForeign(line, part string) bool {
	if _, ours := apikey.ParseToken(part); ours {
		return false
	}
	_, foreign := apikey.ParseAnyToken(line, apikey.DefaultPrefix, nil)
	return foreign
}

// sameToken returns an error if the key that a server found for a token of ours has the
// hint of another one. A hint with another prefix may be what an import has said.
func sameToken(token string, key client.Key) error {
	sent, ours := apikey.ParseToken(token)
	if !ours || key.TokenHint == sent.Hint() || !strings.HasPrefix(token, apikey.HintPrefix(key.TokenHint)+"_") {
		return nil
	}
	return fmt.Errorf("the server found the key of another token, %s, and not of the one that was sent, %s: is this your gateway?", key.TokenHint, sent)
}

// longWord finds a word of more letters and digits than any id has.
var longWord = regexp.MustCompile(`[0-9A-Za-z]{33,}`)

// holdsPart reports whether a text contains what may be a token without its prefix or its
// end. Words of a language can be as long, but have no digits.
func holdsPart(text string) bool {
	return slices.ContainsFunc(longWord.FindAllString(text, -1), func(word string) bool {
		return strings.ContainsAny(word, "0123456789")
	})
}

// refuseToken refuses a token, or most of one, in place of an id or a search text, which
// become part of an address that the server logs.
func refuseToken(text string) error {
	tokens := apikey.FindTokens(text)
	switch {
	case len(tokens) == 1:
		return usagef("that is a whole token, and not a key's id: find its key by its last four characters, with find %s", tokens[0][len(tokens[0])-4:])
	case apikey.HoldsToken(text), holdsPart(text):
		return usagef("that contains a token or part of one, which would be logged: pass it to lookup on standard input")
	}
	return nil
}
