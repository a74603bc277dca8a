package apikey

import (
	"bytes"
	"errors"
	"strings"
)

// PlainText returns a text that a person saved with a token in it, without the
// byte-order mark that some editors put at the beginning of UTF-8. It refuses UTF-16,
// which PowerShell and Notepad write.
func PlainText(content []byte) (string, error) {
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) || bytes.ContainsRune(content, 0) {
		return "", errors.New("it is UTF-16: save it as UTF-8, without a byte-order mark")
	}
	return strings.TrimPrefix(string(content), "\ufeff"), nil
}
