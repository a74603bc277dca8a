package delivery

import (
	"net"
	"net/url"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"https://hooks.example.com/keys", "https://hooks.example.com/keys"},
		{"https://HOOKS.example.com:443", "https://hooks.example.com/"},
		{"HTTPS://hooks.example.com:8443/a?b=c", "https://hooks.example.com:8443/a?b=c"},
		{"https://10.0.0.1/keys", "https://10.0.0.1/keys"},
		{"http://localhost:9000/keys", "http://localhost:9000/keys"},
		{"http://LocalHost:80", "http://localhost/"},
		{"http://127.0.0.9/", "http://127.0.0.9/"},
		{"http://[::1]:9000/", "http://[::1]:9000/"},
		{"http://[::ffff:127.0.0.1]/", "http://[::ffff:127.0.0.1]/"},
	} {
		got, err := ParseAddress(test.text)
		if err != nil {
			t.Errorf("%s: got %v, want no error", test.text, err)
		} else if got.String() != test.want {
			t.Errorf("%s: got %s, want %s", test.text, got, test.want)
		}
	}
}

func TestParseAddress_refuses(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "want an address"},
		{"hooks.example.com/keys", "want an address"},
		{"ftp://hooks.example.com/", "want an address"},
		{"https:hooks.example.com", "want an address"},
		{"https://", "want an address"},
		{"https:///keys", "want an address"},
		{"https://exa mple.com/", "want an address"},
		{"https://user:hunter2@hooks.example.com/", "credentials"},
		{"https://hunter2@hooks.example.com/", "credentials"},
		{"https://hooks.example.com/#hunter2", "fragment"},
		{"https://hooks.example.com/#", "fragment"},
		{"https://hooks.example.com:0/", "port"},
		{"https://hooks.example.com:/", "port"},
		{"https://hooks.example.com:65536/", "port"},
		{"https://user:hunter2@hooks.example.com:port/", "want an address"},
		{"http://hooks.example.com/", "use https"},
		{"http://10.0.0.1/", "use https"},
		{"http://0.0.0.0/", "use https"},
		{"http://[::]/", "use https"},
		{"http://127.1/", "use https"},
		{"http://2130706433/", "use https"},
		{"http://localhost.example.com/", "use https"},
		{"http://localhost./", "use https"},
	} {
		got, err := ParseAddress(test.text)
		switch {
		case err == nil:
			t.Errorf("%s: got %s, want an error", test.text, got)
		case !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: got %q, want %q in it, and nothing of the address", test.text, err, test.want)
		}
	}
}

func TestShown(t *testing.T) {
	u, err := url.Parse("https://hooks.example.com/keys?token=hunter2")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Shown(u), "https://hooks.example.com/keys?..."; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestOnlyLoopback(t *testing.T) {
	for address, allowed := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true,
		"10.0.0.1:80": false, "0.0.0.0:80": false, "[fe80::1%eth0]:80": false, "[2001:db8::1]:80": false, "169.254.169.254:80": false,
	} {
		if err := onlyLoopback("tcp", address, nil); (err == nil) != allowed {
			t.Errorf("%s: got %v, want allowed: %v", address, err, allowed)
		}
	}
	if _, err := (&net.Dialer{Control: onlyLoopback}).Dial("tcp", "192.0.2.1:80"); err == nil || !strings.Contains(err.Error(), errNotLoopback.Error()) {
		t.Errorf("got %v, want %v", err, errNotLoopback)
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"https://hooks.example.com:443/a?b=c", "http://[::1]:9000/", "http://localhost", "https://u:p@h/", "http://127.0.0.1@evil.example/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseAddress(text)
		if err != nil {
			return
		}
		if u.User != nil || u.Scheme == "http" && !namesLoopback(u.Hostname()) {
			t.Errorf("%q: got %s, want it refused", text, u)
		}
		again, err := ParseAddress(u.String())
		if err != nil || again.String() != u.String() {
			t.Errorf("%q: got %v (%v) from its own %s", text, again, err, u)
		}
	})
}
