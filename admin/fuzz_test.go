package admin

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// FuzzDecode compares the decoder of bodies with another one: what it accepts is a
// single object with known members, each of them once, and nothing after it.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `{}`, ` {} `, `null`, `[]`, `"x"`, `1e999`, `{}{}`, `{} x`, "{}\x00", "\ufeff{}",
		zapier, `{"name":"Zapier","owner":"Ops","preset":"full_access","expires_in":"30d"}`, `{"name":null,"owner":null,"preset":null,"expires_in":null}`,
		`{"name":"a","name":"b"}`, `{"Name":"a"}`, `{"na\u006de":"a"}`, `{"name":"a","na\u006de":"b"}`, `{"pre\u017fet":"a"}`, `{"nome":"a"}`, `{"":1}`,
		`{"name":1}`, `{"name":1e999}`, `{"name":{}}`, `{"name":[[[[]]]]}`, `{"name":"\ud800"}`, `{"name":"\ud83d\udd11"}`, "{\"name\":\"\xff\"}", "{\"name\":\"\x01\"}",
		`{"name":"a",}`, `{"name":`, `{`, `{}//`, `{'name':'a'}`, strings.Repeat(`{"name":`, 100), `{"name":` + strings.Repeat("[", 100),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", keysPage, strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		var got client.CreateRequest
		if err := decode(r, &got); err != nil {
			refusal, ok := errors.AsType[*apikey.Error](err)
			if !ok || statuses[refusal.Code] < 400 || !utf8.ValidString(refusal.Message) {
				t.Fatalf("decode(%q): got error %v, want a refusal", body, err)
			}
			return
		}
		if len(body) == 0 {
			return
		}
		want, err := strictly(body)
		if err != nil {
			t.Fatalf("decode(%q): got no error, want one: %v", body, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("decode(%q): got %+v, want %+v", body, got, want)
		}
	})
}

// strictly reads a body token by token.
func strictly(body []byte) (request client.CreateRequest, err error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return request, errors.New("it is not JSON in UTF-8")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return request, errors.New("it is not an object")
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	_, _ = decoder.Token() // the opening brace
	seen := map[string]bool{}
	for decoder.More() {
		name, _ := decoder.Token()
		if seen[name.(string)] {
			return request, errors.New("a member appears twice")
		}
		seen[name.(string)] = true
		var value any
		if err := decoder.Decode(&value); err != nil {
			return request, err
		}
		text, isText := value.(string)
		if !isText {
			return request, errors.New("a member is no text")
		}
		// encoding/json replaces a lone surrogate with U+FFFD.
		if strings.ContainsRune(text, utf8.RuneError) && !strings.ContainsRune(string(body), utf8.RuneError) && !strings.Contains(strings.ToLower(string(body)), `\ufffd`) {
			return request, errors.New("a lone surrogate")
		}
		switch name {
		case "name":
			request.Name = text
		case "owner":
			request.Owner = text
		case "preset":
			request.Preset = text
		case "expires_in":
			request.ExpiresIn = &text
		default:
			return request, errors.New("an unknown member")
		}
	}
	return request, nil
}
