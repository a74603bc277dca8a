package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// caddyRival is a Caddy with one site in front of the API.
type caddyRival struct {
	binary   string
	env      string // an additional environment variable
	log      string // the global option
	app      string // options of api_keys
	store    bool   // it has a key store, which is empty unless it checks keys
	check    string // the handler before the proxy, if any
	proxy    string // options of reverse_proxy
	access   bool   // it writes an access log
	endpoint string // the address of the admin endpoint
}

// stock is plain Caddy.
func stock() caddyRival { return caddyRival{binary: "stock"} }

// gateway is this project's Caddy, built by go build ./cmd/caddy, with the options of
// Caddyfile.example but without checking keys.
func (e example) gateway() caddyRival {
	return caddyRival{binary: "gateway", store: true, log: e.log, proxy: e.proxy}
}

// checked is the same Caddy, checking keys.
func (e example) checked() caddyRival {
	c := e.gateway()
	c.check = e.check
	return c
}

// example holds the parts of Caddyfile.example that the rivals use.
type example struct{ log, check, proxy string }

func readExample() (e example, err error) {
	content, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		return e, err
	}
	e.log = block(string(content), "\tlog {\n")
	e.check = block(string(content), "\t\tapi_key_auth {\n")
	_, proxy, _ := strings.Cut(block(string(content), "\t\treverse_proxy 127.0.0.1:9000 {\n"), "\n")
	e.proxy = strings.TrimSuffix(strings.TrimRight(proxy, "\n"), "}")
	if e.log == "" || e.check == "" || e.proxy == "" {
		return e, fmt.Errorf("Caddyfile.example lacks blocks that the comparison needs: got %+v", e)
	}
	return e, nil
}

// block returns the block that begins with a line, up to the closing brace with the
// same indentation.
func block(content, first string) string {
	_, rest, found := strings.Cut(content, "\n"+first)
	inside, _, closed := strings.Cut(rest, "\n"+first[:len(first)-len(strings.TrimLeft(first, "\t"))]+"}")
	if !found || !closed {
		return ""
	}
	return strings.TrimLeft(first, "\t") + inside + "\n}\n"
}

// rival returns a rival that is such a Caddy.
func (c caddyRival) rival(id, name string) *rival {
	return &rival{id: id, name: name, program: c.binary, start: c.start}
}

// start returns a function that starts a Caddy.
func (c caddyRival) start(s *site, listen string) (env, command []string) {
	name := "caddy-" + strings.ReplaceAll(listen, ":", "-")
	home := filepath.Join(s.dir, name)
	var config strings.Builder
	endpoint := "off"
	if c.endpoint != "" {
		endpoint = c.endpoint
	}
	fmt.Fprintf(&config, "{\nadmin %s\npersist_config off\n%s", endpoint, c.log)
	if c.store {
		keys := filepath.Join(home, "keys")
		if c.check != "" {
			s.copyKeys(keys)
		}
		fmt.Fprintf(&config, "api_keys {\nstore badger {\npath %s\n}\n%s}\n", keys, c.app)
	}
	fmt.Fprintf(&config, "}\nhttp://%s {\n", listen)
	if c.access {
		fmt.Fprintf(&config, "log {\noutput file %s/access.log\n}\n", home)
	}
	fmt.Fprintf(&config, "%sreverse_proxy %s {\n%s\n}\n}\n", c.check, s.upstream, c.proxy)
	env = []string{"XDG_DATA_HOME=" + home, "XDG_CONFIG_HOME=" + home, "HOME=" + home}
	if c.env != "" {
		env = append(env, c.env)
	}
	file := s.write(name+".caddyfile", config.String())
	return env, []string{filepath.Join(s.dir, c.binary), "run", "--adapter", "caddyfile", "--config", file}
}

// forwardAuth makes Caddy ask the key service about each request.
func forwardAuth(s *site, listen string) (env, command []string) {
	c := stock()
	c.check = "forward_auth " + s.service + " {\nuri /\ncopy_headers X-Workspace-ID\n}\n"
	return c.start(s, listen)
}
