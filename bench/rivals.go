package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// rival is one gateway in front of the API.
type rival struct {
	id      string // its letter in the tables
	name    string
	program string // to build for it; "" if it is installed
	service bool   // it asks the key service
	start   func(s *site, listen string) (env, command []string)

	url       string
	processes []*process
	client    *http.Client
	reference []round // rounds of the reference, one for each of its own
	rounds    []round // as fast as it can answer
	paced     []round // at a fixed rate
}

// rivals are ways to check keys in front of an API. The first is the reference for
// all of them.
func rivals(e example) []*rival {
	return []*rival{
		stock().rival("a", "stock Caddy, no check"),
		e.checked().rival("b", "**caddy-api-keys**"),
		e.gateway().rival("b0", "the same, no check"),
		{id: "c", name: "stock Caddy, `forward_auth` to a key service", program: "stock", service: true, start: forwardAuth},
		{id: "d", name: "nginx, `auth_request` to the same service", service: true, start: nginx(authRequest)},
		{id: "e", name: "nginx, Lua and shared memory", start: nginx(inLua)},
		{id: "f", name: "HAProxy, a map", start: haproxy},
	}
}

// means are the optimizations of our gateway: each one is removed, or added, alone.
// The reference is our gateway without the check.
func means(e example) []*rival {
	variant := func(id, name string, change func(*caddyRival)) *rival {
		c := e.gateway()
		change(&c)
		return c.rival(id, name)
	}
	return []*rival{
		variant("b0", "caddy-api-keys, no check", func(*caddyRival) {}),
		variant("b", "with the check", func(c *caddyRival) { c.check = e.check }),
		variant("h", "without it, with its headers", func(c *caddyRival) { c.binary, c.check = "floor", "same_headers\n" }),
		variant("u", "with the check, last use recorded hourly", func(c *caddyRival) { c.check, c.app = e.check, "last_used_resolution 1h\n" }),
		variant("p", "built without the profile", func(c *caddyRival) { c.binary = "gateway-unprofiled" }),
		variant("g", "`GOGC=100`, Go's default", func(c *caddyRival) { c.env = "GOGC=100" }),
		variant("l", "with Caddy's default log", func(c *caddyRival) { c.log = "" }),
		variant("t", "with Caddy's default `reverse_proxy`", func(c *caddyRival) { c.proxy = "" }),
		variant("v", "built with `GOAMD64=v3`", func(c *caddyRival) { c.binary = "gateway-v3" }),
		variant("w", "with an access log", func(c *caddyRival) { c.access = true }),
		stock().rival("a", "stock Caddy, no check"),
	}
}

// proxies are what the check is compared with on more than one core: our gateway without it,
// which is the reference, the same with the headers alone, and plain Caddy.
func proxies(e example) []*rival {
	return slices.DeleteFunc(means(e), func(r *rival) bool { return !slices.Contains([]string{"b0", "h", "b", "a"}, r.id) })
}

// startAll starts every rival on an address of its own, to run on the given cores.
func (s *site) startAll(ctx context.Context, rivals []*rival, cores string) error {
	for _, r := range rivals {
		if err := s.startOne(ctx, r, cores); err != nil {
			return fmt.Errorf("starting %s: %w", r.name, err)
		}
	}
	return nil
}

func (s *site) startOne(ctx context.Context, r *rival, cores string) error {
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	env, command := r.start(s, listen)
	p, err := launch(ctx, cores, listen, env, command...)
	if err != nil {
		return err
	}
	r.processes = []*process{p}
	if r.service {
		r.processes = append(r.processes, s.keyService)
	}
	r.url = "http://" + listen + "/public/v1/contacts"
	return nil
}

// stop stops the rivals' own processes.
func stop(rivals []*rival) {
	for _, r := range rivals {
		if len(r.processes) > 0 {
			r.processes[0].stop()
		}
	}
}

// usage sums up what a rival's processes have used.
func (r *rival) usage() (cpu time.Duration, resident int, err error) {
	for _, p := range r.processes {
		c, m, err := p.usage()
		if err != nil {
			return 0, 0, err
		}
		cpu, resident = cpu+c, resident+m
	}
	return cpu, resident, nil
}
