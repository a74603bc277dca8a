package caddymodule

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// plainText returns a text that a person has made, without the byte-order mark
// that some editors put at the beginning of UTF-8. It refuses UTF-16, which
// PowerShell and Notepad write.
func plainText(content []byte) (string, error) {
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) || bytes.ContainsRune(content, 0) {
		return "", errors.New("it is in UTF-16: save it in UTF-8, without a byte-order mark")
	}
	return strings.TrimPrefix(string(content), "\ufeff"), nil
}

// validateToken refuses an admin token that nobody could present. It says what
// is wrong with it, and not what it is.
func validateToken(token string) error {
	lines := strings.FieldsFunc(token, func(r rune) bool { return r == '\r' || r == '\n' })
	if len(lines) > 1 {
		return fmt.Errorf("an admin token is one line, and this is %d", len(lines))
	}
	for i, r := range token {
		switch {
		case r == ' ' || r == '\t':
			return errors.New("an admin token has no spaces in it")
		case r == utf8.RuneError:
			return errors.New("an admin token is visible ASCII, and this one is not even UTF-8")
		case r < '!' || r > '~':
			return fmt.Errorf("an admin token is visible ASCII, and character %d of this one is %U", len([]rune(token[:i]))+1, r)
		}
	}
	return nil
}

// literal refuses braces in an option that is read once and taken as it is:
// they would be a placeholder, and nothing would evaluate it.
func literal(value string) error {
	if strings.ContainsAny(value, "{}") {
		return fmt.Errorf("%q: no placeholder is evaluated here: write the value itself, or {$NAME} for a variable of the environment, which Caddy puts in as it reads the Caddyfile", value)
	}
	return nil
}
