package store

import (
	"fmt"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/durable"
)

// TestKnownOf: a batch is looked up where the store has some of it, and everywhere if
// the store has more between its first and its last id than the batch.
func TestKnownOf(t *testing.T) {
	s := openNew(t)
	var ids []string
	for i := range 5 {
		ids = append(ids, mustCreate(t, s, "acme", fmt.Sprint("Key ", i), start).ID)
	}
	before, between, after := "key_0", ids[1]+"0", ids[4]+"0"
	for name, test := range map[string]struct {
		batch, want []string // want are those of the batch that the store may have
	}{
		"none":             {nil, nil},
		"before the first": {[]string{before}, nil},
		"after the last":   {[]string{after}, nil},
		"between":          {[]string{between}, nil},
		"only the first":   {[]string{ids[0], ids[0] + "0"}, ids[:1]},
		"only the last":    {[]string{between, ids[2]}, ids[2:3]},
		"all":              {ids, ids},
		"far apart":        {[]string{before, after}, []string{before, after}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.view(func(txn *durable.Txn) error {
				known := knownOf(txn, "k/", test.batch)
				var got []string
				for _, id := range test.batch {
					if known.mayHave(id) {
						got = append(got, id)
					}
				}
				equal(t, "what the store may have", got, test.want)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}
