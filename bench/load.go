package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// round is the result of one round of load.
type round struct {
	requests  int
	seconds   float64
	cpu       time.Duration // of all processes involved
	resident  int
	latencies vegeta.LatencyMetrics
}

// perRequest returns the CPU time per request, in microseconds.
func (r round) perRequest() float64 {
	return float64(r.cpu.Nanoseconds()) / 1e3 / float64(r.requests)
}

// targeter requests the same small resource, each time with a random key.
func targeter(url string, headers []http.Header) vegeta.Targeter {
	return func(target *vegeta.Target) error {
		target.Method, target.URL = http.MethodGet, url
		target.Header = headers[rand.IntN(len(headers))]
		return nil
	}
}

// each sends one request with every key.
func each(url string, headers []http.Header) vegeta.Targeter {
	var next atomic.Int64
	return func(target *vegeta.Target) error {
		i := int(next.Add(1)) - 1
		if i >= len(headers) {
			return vegeta.ErrNoTargets
		}
		target.Method, target.URL, target.Header = http.MethodGet, url, headers[i]
		return nil
	}
}

// warm opens a rival's connections and sends it every key once.
func warm(r *rival, headers []http.Header, connections int) error {
	var failed error
	pace := vegeta.Rate{Per: time.Second}
	for result := range newAttacker(r.client, connections).Attack(each(r.url, headers), pace, 0, r.name) {
		if result.Error != vegeta.ErrNoTargets.Error() && result.Code != http.StatusOK {
			failed = fmt.Errorf("%s: got %d, want 200: %s", r.name, result.Code, result.Error)
		}
	}
	return failed
}

// loaded runs one round against a rival, at the given number of requests per second,
// or as fast as it can answer if that is 0.
func loaded(r *rival, headers []http.Header, connections, rate int, length time.Duration) (round, error) {
	before, _, err := r.usage()
	if err != nil {
		return round{}, err
	}
	pace := vegeta.Rate{Freq: rate, Per: time.Second}
	var metrics vegeta.Metrics
	for result := range newAttacker(r.client, connections).Attack(targeter(r.url, headers), pace, length, r.name) {
		metrics.Add(result)
	}
	metrics.Close()
	after, resident, err := r.usage()
	if err != nil {
		return round{}, err
	}
	if metrics.StatusCodes["200"] != int(metrics.Requests) {
		return round{}, fmt.Errorf("%s: got the statuses %v, want 200 alone: %v", r.name, metrics.StatusCodes, metrics.Errors)
	}
	return round{
		requests: int(metrics.Requests), seconds: (metrics.Duration + metrics.Wait).Seconds(), cpu: after - before,
		resident: resident, latencies: metrics.Latencies,
	}, nil
}

// newClient returns a client for one rival, whose connections stay open between
// rounds.
func newClient(connections int) *http.Client {
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, DisableCompression: true},
	}
}

// newAttacker returns an attacker for one round.
func newAttacker(client *http.Client, connections int) *vegeta.Attacker {
	return vegeta.NewAttacker(
		vegeta.Client(client), vegeta.Workers(uint64(connections)), vegeta.MaxWorkers(uint64(connections)), vegeta.MaxBody(0),
	)
}
