package apikey

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestToken_neverPrintsItself(t *testing.T) {
	neverPrintsItself(t, mustParse(t, withChecksum("agk_"+secret43)))
	foreign, _ := ParseAnyToken("0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b", DefaultPrefix, nil)
	neverPrintsItself(t, foreign)
}

func neverPrintsItself(t *testing.T, token Token) {
	t.Helper()
	secret := token.Reveal()

	type exported struct{ Token Token }
	type unexported struct{ token Token }
	type nested struct {
		inner *unexported
		list  []Token
		named map[string]Token
		any   any
	}
	values := map[string]any{
		"itself":            token,
		"pointer":           &token,
		"exported field":    exported{token},
		"unexported field":  unexported{token},
		"pointer to struct": &unexported{token},
		"nested":            nested{&unexported{token}, []Token{token}, map[string]Token{"t": token}, token},
		"slice":             []Token{token},
		"array":             [1]Token{token},
		"map value":         map[string]Token{"t": token},
		"map key":           map[Token]bool{token: true},
		"error":             fmt.Errorf("refusing %v", token),
		"wrapped error":     fmt.Errorf("doing it: %w", fmt.Errorf("with %+v", unexported{token})),
		"joined errors":     errors.Join(fmt.Errorf("%s", token), fmt.Errorf("%#v", exported{token})),
	}
	for name, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%b", "%c", "%U", "%p", "%t", "%e", "%60v", "%.60s"} {
			refuseSecret(t, name+" by "+verb, fmt.Sprintf(verb, value), secret)
		}
		refuseSecret(t, name+" by Print", fmt.Sprint(value)+fmt.Sprintln(value), secret)

		if encoded, err := json.Marshal(value); err == nil {
			refuseSecret(t, name+" as JSON", string(encoded), secret)
		}

		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Error("x", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Error("x", "value", value)
		refuseSecret(t, name+" by slog", out.String(), secret)

		for _, encoder := range []zapcore.Encoder{
			zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
			zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
		} {
			var out bytes.Buffer
			log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zap.DebugLevel))
			log.Error("x", zap.Any("any", value), zap.Reflect("reflect", value))
			log.Sugar().Errorw("x", "value", value)
			log.Sugar().Errorf("%v %+v", value, value)
			refuseSecret(t, name+" by zap", out.String(), secret)
		}
	}
}

// What is shown instead is the hint, so that a log still says which token it
// was.
func TestToken_showsItsHint(t *testing.T) {
	token := mustParse(t, withChecksum("agk_"+secret43))
	encoded, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		fmt.Sprint(token), fmt.Sprintf("%s", token), fmt.Sprintf("%x", token), fmt.Sprintf("%#v", token),
		token.String(), token.LogValue().String(), strings.Trim(string(encoded), `"`),
	} {
		if got != token.Hint() {
			t.Errorf("got %q, want %q", got, token.Hint())
		}
	}
}

// refuseSecret fails if the secret, or more of it than a hint has, can be read
// in what was printed, in any of the ways in which Go prints bytes.
func refuseSecret(t *testing.T, where, printed, secret string) {
	t.Helper()
	part := secret[10:30]
	var decimal []string
	for _, b := range []byte(part) {
		decimal = append(decimal, fmt.Sprint(b))
	}
	forms := []string{
		part,
		hex.EncodeToString([]byte(part)),
		fmt.Sprintf("% x", part),
		fmt.Sprintf("%#x", part)[2:],
		base64.RawStdEncoding.EncodeToString([]byte(part))[:20],
		strings.Join(decimal, " "),
		strings.Join(decimal, ","),
	}
	if slices.ContainsFunc(forms, func(form string) bool {
		return strings.Contains(strings.ToLower(printed), strings.ToLower(form))
	}) {
		t.Errorf("%s: the token can be read in %q", where, printed)
	}
}
