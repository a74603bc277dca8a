package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// profileLength is how long the gateway is profiled. At a hundred samples per second,
// half a minute was too short for the compiler to optimize well.
const profileLength = 2 * time.Minute

// profile loads the gateway alone, and writes its CPU profile.
func profile(ctx context.Context, o options, s *site) error {
	endpoint, err := freeAddress()
	if err != nil {
		return err
	}
	c := s.example.checked()
	c.endpoint = endpoint
	ours := c.rival("b", "caddy-api-keys")
	ours.client = newClient(o.connections)
	if err := s.startOne(ctx, ours, first); err != nil {
		return err
	}
	defer stop([]*rival{ours})
	if err := warm(ours, s.headers, o.connections); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "profiling for", profileLength)
	fetched := make(chan error, 1)
	go func() {
		fetched <- fetch(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", endpoint, profileLength.Seconds()), o.profile)
	}()
	if _, err := loaded(ours, s.headers, o.connections, 0, profileLength+time.Second); err != nil {
		return err
	}
	return <-fetched
}

func fetch(ctx context.Context, url, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers with %s: %s", url, response.Status, content)
	}
	return os.WriteFile(path, content, 0o644)
}
