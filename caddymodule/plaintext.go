package caddymodule

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// validateToken refuses an admin token that nobody could present. The error says
// what is wrong with the token, and does not contain it.
func validateToken(token string) error {
	lines := strings.FieldsFunc(token, func(r rune) bool { return r == '\r' || r == '\n' })
	if len(lines) > 1 {
		return fmt.Errorf("an admin token must be one line, not %d", len(lines))
	}
	for i, r := range token {
		switch {
		case r == ' ' || r == '\t':
			return errors.New("an admin token must not contain spaces")
		case r == utf8.RuneError:
			return errors.New("an admin token must be printable ASCII, and this one is not even UTF-8")
		case r < '!' || r > '~':
			return fmt.Errorf("an admin token must be printable ASCII: character %d is %U", len([]rune(token[:i]))+1, r)
		}
	}
	return nil
}
