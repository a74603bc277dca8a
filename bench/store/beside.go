package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// What is asked for while something else is done beside it.
const (
	requestRate = 1000   // a second
	inUse       = 10_000 // keys
	connections = 16
	aloneFor    = 8 * time.Second
)

// beside is what a long operation takes, and what requests notice of it.
type beside struct {
	name          string
	took          time.Duration
	memory        int // bytes that the process has more
	alone, during spread
}

// besideAll measures each long operation rounds times, and returns the medians.
func besideAll(ctx context.Context, dir, gateway string, n, rounds int) ([]beside, error) {
	d, err := makeData(ctx, filepath.Join(dir, "keys"), n, perWorkspace)
	if err != nil {
		return nil, err
	}
	measured := make(map[string][]beside)
	for range rounds {
		backup, err := besideLarge(ctx, dir, gateway, d, measured)
		if err != nil {
			return nil, err
		}
		if err := besideRestore(ctx, filepath.Join(dir, "restored"), gateway, backup, measured); err != nil {
			return nil, err
		}
		if err := besideFloods(ctx, filepath.Join(dir, "flooded"), gateway, measured); err != nil {
			return nil, err
		}
	}
	var all []beside
	for _, name := range []string{"start", "backup", "doctor", "restore"} {
		all = append(all, medianOf(measured[name]))
	}
	for _, flood := range floods {
		all = append(all, medianOf(measured[flood.name]))
	}
	return all, nil
}

// besideLarge measures what is done beside requests to a store with many keys.
func besideLarge(ctx context.Context, dir, gateway string, d *data, measured map[string][]beside) (backup []byte, err error) {
	server, err := startOn(ctx, dir, gateway)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	headers := headersOf(d.tokens[:min(len(d.tokens), inUse)])
	alone := func() spread { return load(ctx, headers, aloneFor) }
	// The first seconds, in which every key is read for the first time.
	started := beside{name: "start", during: alone()}
	alone()
	started.alone = alone()
	measured["start"] = append(measured["start"], started)
	for _, name := range []string{"backup", "doctor"} {
		b, err := server.during(ctx, name, headers, alone(), func() error {
			answer, err := call(ctx, http.MethodGet, name, nil)
			if name == "backup" {
				backup = answer
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		measured[name] = append(measured[name], b)
	}
	return backup, nil
}

// besideRestore measures a restore beside requests to a store with few keys.
func besideRestore(ctx context.Context, dir, gateway string, backup []byte, measured map[string][]beside) error {
	defer os.RemoveAll(dir)
	server, d, err := startWith(ctx, dir, gateway, inUse, perWorkspace)
	if err != nil {
		return err
	}
	defer server.stop()
	headers := headersOf(d.tokens)
	load(ctx, headers, aloneFor)
	b, err := server.during(ctx, "restore", headers, load(ctx, headers, aloneFor), func() error {
		_, err := call(ctx, http.MethodPost, "restore", backup)
		return err
	})
	measured["restore"] = append(measured["restore"], b)
	return err
}

// startWith starts the gateway on a new store of so many keys.
func startWith(ctx context.Context, dir, gateway string, keys, perWorkspace int) (*server, *data, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	d, err := makeData(ctx, filepath.Join(dir, "keys"), keys, perWorkspace)
	if err != nil {
		return nil, nil, err
	}
	server, err := startOn(ctx, dir, gateway)
	return server, d, err
}

// during does something while requests are sent.
func (s *server) during(ctx context.Context, name string, headers []http.Header, alone spread, do func() error) (beside, error) {
	fmt.Fprintln(os.Stderr, "measuring beside:", name)
	before, err := s.resident()
	if err != nil {
		return beside{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	peak := make(chan int)
	go func() {
		most := 0
		for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			if now, err := s.resident(); err == nil {
				most = max(most, now.own)
			}
		}
		peak <- most
	}()
	latencies := make(chan spread)
	go func() { latencies <- load(ctx, headers, time.Hour) }()
	begin := time.Now()
	err = do()
	b := beside{name: name, took: time.Since(begin), alone: alone}
	stop()
	b.during, b.memory = <-latencies, max(0, <-peak-before.own)
	fmt.Fprintln(os.Stderr, b)
	return b, err
}

// load sends requests at a constant rate, until the context ends, and returns how
// long they took.
func load(ctx context.Context, headers []http.Header, length time.Duration) spread {
	attacker := vegeta.NewAttacker(vegeta.Workers(connections), vegeta.MaxWorkers(connections*8), vegeta.MaxBody(0))
	targets := func(target *vegeta.Target) error {
		target.Method, target.URL = http.MethodGet, "http://"+site+"/data"
		target.Header = headers[rand.IntN(len(headers))]
		return nil
	}
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	var times []time.Duration
	for result := range attacker.Attack(targets, vegeta.Rate{Freq: requestRate, Per: time.Second}, length, "") {
		times = append(times, result.Latency)
		if result.Code != http.StatusNoContent && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "store: a request was answered with", result.Code, result.Error)
		}
	}
	return spreadOf(times)
}

func headersOf(tokens []apikey.Token) (headers []http.Header) {
	for _, token := range tokens {
		headers = append(headers, http.Header{"Authorization": {"Bearer " + token.Reveal()}})
	}
	return headers
}

// call makes a call of the admin API.
func call(ctx context.Context, method, name string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+endpoint+"/api-keys/"+name, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s: got %s: %s", name, response.Status, answer)
	}
	return answer, err
}

func medianOf(all []beside) beside {
	middle := func(of func(beside) int64) int64 {
		var values []int64
		for _, b := range all {
			values = append(values, of(b))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	duration := func(of func(beside) time.Duration) time.Duration {
		return time.Duration(middle(func(b beside) int64 { return int64(of(b)) }))
	}
	return beside{
		name: all[0].name, took: duration(func(b beside) time.Duration { return b.took }),
		memory: int(middle(func(b beside) int64 { return int64(b.memory) })),
		alone:  spread{duration(func(b beside) time.Duration { return b.alone.median }), duration(func(b beside) time.Duration { return b.alone.p99 })},
		during: spread{duration(func(b beside) time.Duration { return b.during.median }), duration(func(b beside) time.Duration { return b.during.p99 })},
	}
}

func besideTable(all []beside) string {
	var out strings.Builder
	fmt.Fprintln(&out, "| operation | duration | memory | requests without it | requests during it |\n|---|---:|---:|---:|---:|")
	for _, b := range all {
		took, memory := fmt.Sprintf("%.1f s", b.took.Seconds()), fmt.Sprintf("%d MB", b.memory/1e6)
		if b.name == "start" {
			b.name, took, memory = "first 8 seconds after a start", "", ""
		}
		if slices.ContainsFunc(floods, func(f flood) bool { return f.name == b.name }) {
			b.name, took = fmt.Sprintf("%d at once: %s of a workspace with %d keys", floodCallers, b.name, floodKeys), ""
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s (%s) | %s (%s) |\n", b.name, took, memory,
			inMilliseconds(b.alone.median), inMilliseconds(b.alone.p99), inMilliseconds(b.during.median), inMilliseconds(b.during.p99))
	}
	return out.String() + fmt.Sprintf("\nRequests: %d per second with %d keys; median, with the 99th percentile in parentheses.\n", requestRate, inUse)
}

func inMilliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
