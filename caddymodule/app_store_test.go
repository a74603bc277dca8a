package caddymodule

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// TestCountedStore_countsEveryFailure calls every method that can fail on a closed
// store, and checks that each failure is counted once.
func TestCountedStore_countsEveryFailure(t *testing.T) {
	opened, err := store.Open(t.TempDir(), zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	countedElsewhere := map[string]bool{
		"Grant":         true, // by the metric of the request, whose wait is bounded
		"Lookup":        true, // by the caller, which may go without
		"Census":        true, // by the scrape, whose wait is bounded
		"ExpiringInUse": true, // by the scrape
		"Close":         true, // not a use of the store; its caller logs the error
	}
	closed := reflect.ValueOf(countedStore{store: opened})
	for i := range closed.NumMethod() {
		method := closed.Type().Method(i)
		if out := method.Type.NumOut(); out == 0 || method.Type.Out(out-1) != reflect.TypeFor[error]() {
			continue
		}
		t.Run(method.Name, func(t *testing.T) {
			before := sumOf(t, errorsMetric)
			results := closed.Method(i).Call(arguments(t, closed.Method(i).Type()))
			want := before + 1
			if countedElsewhere[method.Name] {
				want = before
			} else if err, _ := results[len(results)-1].Interface().(error); !errors.Is(err, apikey.ErrStoreUnavailable) {
				t.Errorf("got %v from a closed store, want %v", err, apikey.ErrStoreUnavailable)
			}
			if got := sumOf(t, errorsMetric); got != want {
				t.Errorf("got %v failures counted, want %v", got, want)
			}
		})
	}
}

// arguments returns values with which a function of the given type can be called.
func arguments(t *testing.T, f reflect.Type) (args []reflect.Value) {
	t.Helper()
	for in := range f.Ins() {
		arg := reflect.Zero(in)
		switch in {
		case reflect.TypeFor[context.Context]():
			arg = reflect.ValueOf(t.Context())
		case reflect.TypeFor[io.Reader]():
			arg = reflect.ValueOf(strings.NewReader("not a backup"))
		case reflect.TypeFor[io.Writer]():
			arg = reflect.ValueOf(io.Discard)
		case reflect.TypeFor[map[string]apikey.Use]():
			arg = reflect.ValueOf(map[string]apikey.Use{"key_1": {At: time.Now()}})
		case reflect.TypeFor[map[apikey.KeyDay]apikey.Usage]():
			arg = reflect.ValueOf(map[apikey.KeyDay]apikey.Usage{{KeyID: "key_1"}: {Reads: 1}})
		}
		args = append(args, arg)
	}
	return args
}

// TestUnchangeable: healthz says why a fleet takes no changes.
func TestUnchangeable(t *testing.T) {
	const quota = 1000
	for _, test := range []struct {
		fleet apikey.FleetStatus
		want  string
	}{
		{apikey.FleetStatus{}, ""},
		{apikey.FleetStatus{Space: apikey.FleetSpace{Used: 900, Quota: quota}}, ""},
		{apikey.FleetStatus{Space: apikey.FleetSpace{Used: 901, Quota: quota}}, "the fleet's etcd is full: only revoking and suspending still work"},
		{
			apikey.FleetStatus{Space: apikey.FleetSpace{Used: quota, Quota: quota}},
			"the fleet's etcd has reached its quota: it refuses all changes, revocations too, until it has space again",
		},
		{apikey.FleetStatus{Space: apikey.FleetSpace{Used: quota, Quota: quota}, Problem: "no member of etcd answers"}, "this gateway cannot reach its fleet"},
		{
			apikey.FleetStatus{Problem: "etcd is full", NoRoom: true},
			"the fleet's etcd has reached its quota: it refuses all changes, revocations too, until it has space again",
		},
	} {
		if got := unchangeable(test.fleet); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.fleet, got, test.want)
		}
	}
}
