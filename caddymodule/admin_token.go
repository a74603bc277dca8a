package caddymodule

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// shortToken is the length below which an admin token causes a warning.
const shortToken = 32

// readToken reads the admin token and stores its digest: comparing digests takes
// the same time for any input.
func (h *Admin) readToken(log *zap.Logger) error {
	if h.TrustUpstreamAuth {
		return nil
	}
	token, err := h.token()
	if err != nil {
		return err
	}
	if token == "" {
		return fmt.Errorf("the admin token of api_key_admin is empty: check its %s", h.source())
	}
	if err := validateToken(token); err != nil {
		return fmt.Errorf("the %s of api_key_admin: %w", h.source(), err)
	}
	h.secret = sha256.Sum256([]byte(token))
	if len(token) < shortToken {
		log.Warn("the admin token of api_key_admin is short: anybody who guesses it can create keys for every workspace. Make a longer one with: openssl rand -hex 32",
			zap.String("base_path", h.BasePath), zap.Int("characters", len(token)))
	}
	return nil
}

func (h *Admin) token() (string, error) {
	repl := caddy.NewReplacer()
	if h.TokenFile != "" {
		path, err := repl.ReplaceOrErr(h.TokenFile, true, true)
		if err != nil {
			return "", fmt.Errorf("the token_file of api_key_admin: %w", err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("reading the token_file of api_key_admin: %w", err)
		}
		text, err := apikey.PlainText(content)
		if err != nil {
			return "", fmt.Errorf("the token_file %s of api_key_admin: %w", path, err)
		}
		return trimmed(text), nil
	}
	token, err := repl.ReplaceOrErr(h.Token, true, true)
	if err != nil {
		return "", fmt.Errorf("resolving the token of api_key_admin, which must be known when the configuration is loaded: %w", err)
	}
	return trimmed(token), nil
}

// source describes where the admin token comes from.
func (h *Admin) source() string {
	if h.TokenFile != "" {
		return "token_file " + h.TokenFile
	}
	return "token"
}

// trimmed returns a token without surrounding spaces and line ends.
func trimmed(token string) string { return strings.Trim(token, " \t\r\n") }

// authorized reports whether a request carries the admin token, exactly once.
func (h *Admin) authorized(r *http.Request) bool {
	if h.TrustUpstreamAuth {
		return true
	}
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return false
	}
	token, ok := apikey.Bearer(values[0])
	if !ok {
		return false
	}
	presented := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(presented[:], h.secret[:]) == 1
}

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
