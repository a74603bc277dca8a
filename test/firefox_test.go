package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// A firefox is a tab of a real Firefox, driven as a person would, like [tab]. It speaks
// WebDriver BiDi (https://w3c.github.io/webdriver-bidi), which Firefox has built in.
type firefox struct {
	screen
	socket  *websocket.Conn
	context string // the tab

	mu       sync.Mutex
	last     int
	answers  map[int]chan answer // to the commands that wait for one
	requests []string
	troubles []string
}

// An answer is to a command, or tells of an event.
type answer struct {
	ID      int
	Method  string
	Params  json.RawMessage
	Result  json.RawMessage
	Error   string
	Message string
}

// firefoxPreferences let pages copy and paste, as a person would when asked, and keep
// Firefox from every other server.
const firefoxPreferences = `
user_pref("intl.accept_languages", "de-DE,de,en");
user_pref("dom.events.testing.asyncClipboard", true);
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "127.0.0.1");
user_pref("network.proxy.http_port", 9);
user_pref("network.proxy.ssl", "127.0.0.1");
user_pref("network.proxy.ssl_port", 9);
`

var listening = regexp.MustCompile(`WebDriver BiDi listening on (ws://\S+)`)

// newFirefox opens a tab in a Firefox of its own, whose user speaks German.
func newFirefox(t *testing.T) *firefox {
	t.Helper()
	profile, err := os.MkdirTemp("", "firefox-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(profile) })
	must(t, os.WriteFile(filepath.Join(profile, "user.js"), []byte(firefoxPreferences), 0o600))
	const origin = "http://localhost"
	cmd := exec.CommandContext(t.Context(), testenv.Tool(t, "firefox"), "--headless", "--no-remote", "--profile", profile,
		"--remote-debugging-port=0", "--remote-allow-origins="+origin, "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+profile, "MOZ_CRASHREPORTER_DISABLE=1")
	var said gatewaytest.Log
	cmd.Stderr = &said
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var address string
	gatewaytest.Await(t, "Firefox to listen", func() bool {
		if found := listening.FindStringSubmatch(said.String()); found != nil {
			address = found[1]
		}
		return address != ""
	})
	socket, err := websocket.Dial(address+"/session", "", origin)
	must(t, err)
	t.Cleanup(func() { _ = socket.Close() })
	b := &firefox{socket: socket, answers: map[int]chan answer{}}
	b.screen = screen{t, b.shown}
	go b.listen()
	b.begin()
	return b
}

// begin finds the tab, and asks to be told of its traffic and troubles.
func (b *firefox) begin() {
	b.t.Helper()
	b.must("session.new", map[string]any{"capabilities": map[string]any{}}, nil)
	var tree struct {
		Contexts []struct{ Context string }
	}
	b.must("browsingContext.getTree", map[string]any{}, &tree)
	b.context = tree.Contexts[0].Context
	b.must("session.subscribe", map[string]any{"events": []string{"log.entryAdded", "network.beforeRequestSent"}}, nil)
	b.must("script.addPreloadScript", map[string]any{
		"functionDeclaration": `() => addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI}) => console.error(violatedDirective, blockedURI))`,
	}, nil)
}

// listen hands out what Firefox says, until the connection ends.
func (b *firefox) listen() {
	for {
		var said answer
		if err := websocket.JSON.Receive(b.socket, &said); err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			for id, waiting := range b.answers {
				waiting <- answer{Error: "no answer", Message: err.Error()}
				delete(b.answers, id)
			}
			return
		}
		b.note(said)
	}
}

func (b *firefox) note(said answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch said.Method {
	case "":
		b.answers[said.ID] <- said
		delete(b.answers, said.ID)
	case "log.entryAdded":
		var entry struct{ Level, Text string }
		if json.Unmarshal(said.Params, &entry); entry.Level == "error" {
			b.troubles = append(b.troubles, entry.Text)
		}
	case "network.beforeRequestSent":
		var sent struct{ Request struct{ URL string } }
		if json.Unmarshal(said.Params, &sent); !strings.HasPrefix(sent.Request.URL, "about:") {
			b.requests = append(b.requests, sent.Request.URL)
		}
	}
}

// call sends a command, and decodes its result.
func (b *firefox) call(method string, params, into any) error {
	waiting := make(chan answer, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	b.answers[id] = waiting
	b.mu.Unlock()
	if err := websocket.JSON.Send(b.socket, map[string]any{"id": id, "method": method, "params": params}); err != nil {
		return err
	}
	select {
	case got := <-waiting:
		if got.Error != "" {
			return fmt.Errorf("%s: %s: %s", method, got.Error, got.Message)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(got.Result, into)
	case <-time.After(time.Minute):
		return fmt.Errorf("%s: no answer within a minute", method)
	}
}

func (b *firefox) must(method string, params, into any) {
	b.t.Helper()
	if err := b.call(method, params, into); err != nil {
		b.t.Fatalf("in Firefox: %v", err)
	}
}

// open goes to an address.
func (b *firefox) open(address string) {
	b.t.Helper()
	b.must("browsingContext.navigate", map[string]any{"context": b.context, "url": address, "wait": "complete"}, nil)
}

// eval returns what a JavaScript expression is, which must be a string.
func (b *firefox) eval(expression string) (string, error) {
	var done struct {
		Result           struct{ Value string }
		ExceptionDetails struct{ Text string }
	}
	err := b.call("script.evaluate", map[string]any{
		"expression": expression, "target": map[string]any{"context": b.context}, "awaitPromise": true,
	}, &done)
	if err == nil && done.ExceptionDetails.Text != "" {
		err = errors.New(done.ExceptionDetails.Text)
	}
	return done.Result.Value, err
}

// value is eval, of what cannot fail.
func (b *firefox) value(expression string) string {
	b.t.Helper()
	value, err := b.eval(expression)
	if err != nil {
		b.t.Fatalf("evaluating %s: %v", expression, err)
	}
	return value
}

func (b *firefox) shown() string {
	shown, err := b.eval(shownText)
	if err != nil {
		return ""
	}
	return squeezed(shown)
}

// click presses the mouse on the one element that has a role and a name, once it is there.
func (b *firefox) click(role, name string) {
	b.t.Helper()
	b.await(fmt.Sprintf("the %s %q", role, name), func() error {
		var found struct {
			Nodes []struct{ SharedID string }
		}
		err := b.call("browsingContext.locateNodes", map[string]any{
			"context": b.context, "locator": map[string]any{"type": "accessibility", "value": map[string]any{"role": role, "name": name}},
		}, &found)
		if err != nil {
			return err
		}
		if len(found.Nodes) != 1 {
			return fmt.Errorf("there are %d of them", len(found.Nodes))
		}
		return b.press(found.Nodes[0].SharedID)
	})
}

// press presses the mouse in the middle of an element.
func (b *firefox) press(id string) error {
	element := map[string]any{"sharedId": id}
	if err := b.call("script.callFunction", map[string]any{
		"functionDeclaration": `(element) => element.scrollIntoView({block: "nearest"})`, "arguments": []any{element},
		"target": map[string]any{"context": b.context}, "awaitPromise": false,
	}, nil); err != nil {
		return err
	}
	return b.act("pointer",
		map[string]any{"type": "pointerMove", "x": 0, "y": 0, "origin": map[string]any{"type": "element", "element": element}},
		map[string]any{"type": "pointerDown", "button": 0},
		map[string]any{"type": "pointerUp", "button": 0})
}

// act does something with the mouse or the keyboard.
func (b *firefox) act(device string, actions ...map[string]any) error {
	return b.call("input.performActions", map[string]any{
		"context": b.context, "actions": []any{map[string]any{"type": device, "id": device, "actions": actions}},
	}, nil)
}

// keys as WebDriver names them
const (
	firefoxTab    = "\ue004"
	firefoxEnter  = "\ue007"
	firefoxEscape = "\ue00c"
)

// keys presses keys, one after the other.
func (b *firefox) keys(keys string) {
	b.t.Helper()
	var actions []map[string]any
	for _, key := range keys {
		actions = append(actions, map[string]any{"type": "keyDown", "value": string(key)}, map[string]any{"type": "keyUp", "value": string(key)})
	}
	if err := b.act("key", actions...); err != nil {
		b.t.Fatalf("pressing %q: %v", keys, err)
	}
}

// fill types a value into a box, in place of what is there.
func (b *firefox) fill(role, name, value string) {
	b.t.Helper()
	b.click(role, name)
	b.value(`document.activeElement.select(), ""`)
	b.keys(value)
}

// complains reports whether Firefox has complained of something.
func (b *firefox) complains(about string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(strings.Join(b.troubles, "\n"), about)
}

// calm holds that nothing was wrong on the page, that it asked nobody but the given origin,
// and that no secret was in an address.
func (b *firefox) calm(origin string, secrets ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, trouble := range b.troubles {
		b.t.Errorf("Firefox complains: %s", trouble)
	}
	if len(b.requests) == 0 {
		b.t.Error("got no requests, want those of the page")
	}
	for _, address := range b.requests {
		if !staysWithin(origin, address) {
			b.t.Errorf("got a request of %s, want none but of %s", address, origin)
		}
		for _, secret := range secrets {
			if strings.Contains(address, secret) {
				b.t.Errorf("the request of %s has a secret in its address", address)
			}
		}
	}
}
