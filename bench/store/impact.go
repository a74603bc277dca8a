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

	"github.com/agiled/caddy-api-keys/bench/dataset"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// The load during an operation.
const (
	requestRate = 1000   // per second
	inUse       = 10_000 // keys
	connections = 16
	aloneFor    = 8 * time.Second
)

// impact says how long an operation takes, and how it affects requests.
type impact struct {
	name          string
	took          time.Duration
	memory        int // bytes that it adds to the process
	alone, during spread
}

// measureImpact measures each long operation rounds times, and returns the medians.
func measureImpact(ctx context.Context, dir, gateway string, n, rounds int) ([]impact, error) {
	d, err := dataset.Make(ctx, filepath.Join(dir, "keys"), n, dataset.PerWorkspace)
	if err != nil {
		return nil, err
	}
	measured := make(map[string][]impact)
	for range rounds {
		backup, err := impactOnLarge(ctx, dir, gateway, d, measured)
		if err != nil {
			return nil, err
		}
		if err := impactOfRestore(ctx, filepath.Join(dir, "restored"), gateway, backup, measured); err != nil {
			return nil, err
		}
		if err := impactOfFloods(ctx, filepath.Join(dir, "flooded"), gateway, measured); err != nil {
			return nil, err
		}
	}
	var all []impact
	for _, name := range []string{"start", "backup", "doctor", "restore"} {
		all = append(all, medianOf(measured[name]))
	}
	for _, flood := range floods {
		all = append(all, medianOf(measured[flood.name]))
	}
	return all, nil
}

// measureRestore is measureImpact of a restore alone.
func measureRestore(ctx context.Context, dir, gateway string, n, rounds int) ([]impact, error) {
	backup, err := backupOf(ctx, dir, gateway, n)
	if err != nil {
		return nil, err
	}
	measured := make(map[string][]impact)
	for range rounds {
		if err := impactOfRestore(ctx, filepath.Join(dir, "restored"), gateway, backup, measured); err != nil {
			return nil, err
		}
	}
	return []impact{medianOf(measured["restore"])}, nil
}

// backupOf returns a backup of a store with n keys.
func backupOf(ctx context.Context, dir, gateway string, n int) ([]byte, error) {
	server, _, err := startWith(ctx, dir, gateway, n, dataset.PerWorkspace)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	return call(ctx, http.MethodGet, "backup", nil)
}

// impactOnLarge measures operations on a store with many keys, and the requests meanwhile.
func impactOnLarge(ctx context.Context, dir, gateway string, d *dataset.Data, measured map[string][]impact) (backup []byte, err error) {
	server, err := startOn(ctx, dir, gateway)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	headers := headersOf(d.Tokens[:min(len(d.Tokens), inUse)])
	alone := func() spread { return load(ctx, headers, aloneFor) }
	// The first seconds, when every key is read for the first time.
	started := impact{name: "start", during: alone()}
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

// impactOfRestore measures a restore into a store with few keys, and the requests meanwhile.
func impactOfRestore(ctx context.Context, dir, gateway string, backup []byte, measured map[string][]impact) error {
	defer os.RemoveAll(dir)
	server, d, err := startWith(ctx, dir, gateway, inUse, dataset.PerWorkspace)
	if err != nil {
		return err
	}
	defer server.stop()
	headers := headersOf(d.Tokens)
	load(ctx, headers, aloneFor)
	b, err := server.during(ctx, "restore", headers, load(ctx, headers, aloneFor), func() error {
		_, err := call(ctx, http.MethodPost, "restore", backup)
		return err
	})
	measured["restore"] = append(measured["restore"], b)
	return err
}

// startWith starts the gateway on a new store with the given number of keys.
func startWith(ctx context.Context, dir, gateway string, keys, perWorkspace int) (*server, *dataset.Data, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	d, err := dataset.Make(ctx, filepath.Join(dir, "keys"), keys, perWorkspace)
	if err != nil {
		return nil, nil, err
	}
	server, err := startOn(ctx, dir, gateway)
	return server, d, err
}

// during runs an operation while requests are sent.
func (s *server) during(ctx context.Context, name string, headers []http.Header, alone spread, do func() error) (impact, error) {
	fmt.Fprintln(os.Stderr, "measuring the impact of:", name)
	before, err := s.resident()
	if err != nil {
		return impact{}, err
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
	b := impact{name: name, took: time.Since(begin), alone: alone}
	stop()
	b.during, b.memory = <-latencies, max(0, <-peak-before.own)
	fmt.Fprintln(os.Stderr, b)
	return b, err
}

// load sends requests at a constant rate until the context ends, and returns how long
// they took.
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

func medianOf(all []impact) impact {
	middle := func(of func(impact) int64) int64 {
		var values []int64
		for _, b := range all {
			values = append(values, of(b))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	duration := func(of func(impact) time.Duration) time.Duration {
		return time.Duration(middle(func(b impact) int64 { return int64(of(b)) }))
	}
	return impact{
		name: all[0].name, took: duration(func(b impact) time.Duration { return b.took }),
		memory: int(middle(func(b impact) int64 { return int64(b.memory) })),
		alone:  spread{duration(func(b impact) time.Duration { return b.alone.median }), duration(func(b impact) time.Duration { return b.alone.p99 })},
		during: spread{duration(func(b impact) time.Duration { return b.during.median }), duration(func(b impact) time.Duration { return b.during.p99 })},
	}
}

func impactTable(all []impact) string {
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
