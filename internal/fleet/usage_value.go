package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A value of usage has one entry after another: the sixteen bytes of a key's id, and its
// counts. It is as short as it can be, because a gateway writes it every few seconds.

func encodeUsage(totals map[string]apikey.Usage) (value []byte) {
	for _, keyID := range slices.Sorted(maps.Keys(totals)) {
		if id, ok := apikey.BytesOfKeyID(keyID); ok {
			value = apikey.AppendKeyUsage(value, id, totals[keyID])
		}
	}
	return value
}

var errUsage = errors.New("the counts in it are damaged")

func decodeUsage(value []byte) (map[string]apikey.Usage, error) {
	totals := make(map[string]apikey.Usage)
	for len(value) > 0 {
		id, usage, rest, ok := apikey.CutKeyUsage(value)
		if !ok {
			return nil, errUsage
		}
		totals[id.String()], value = usage, rest
	}
	return totals, nil
}

// toldUsage is a value as it comes from etcd.
type toldUsage struct {
	origin string
	day    apikey.Day
	totals map[string]apikey.Usage
}

// openUsage decodes a value.
func (e *etcd) openUsage(kv *mvccpb.KeyValue) (told toldUsage, err error) {
	name, ours := bytes.CutPrefix(kv.Key, []byte(e.prefix))
	day, origin, ok := usageAt(string(name))
	if !ours || !ok {
		return told, fmt.Errorf("%s is not a name of the fleet's data", kv.Key)
	}
	value, _, err := e.keys.open(string(kv.Key), kv.Value)
	if err != nil {
		return told, err
	}
	totals, err := decodeUsage(value)
	if err != nil {
		return told, fmt.Errorf("%s: %w", kv.Key, err)
	}
	return toldUsage{origin, day, totals}, nil
}
