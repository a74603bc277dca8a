package store

import (
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// The prefixes of tokens are kept for good, even after the last key with one has been
// deleted: a token that begins with one is ours, and not foreign.

// Prefixes returns the prefixes of all tokens that were created here, or on another
// gateway of the fleet. Later ones are added to it.
func (s *Store) Prefixes() *apikey.Prefixes { return &s.prefixes }

func (s *Store) loadPrefixes(txn *durable.Txn) error {
	var prefixes []string
	err := each(txn, prefixKey(""), func(key, _ []byte) error {
		prefixes = append(prefixes, string(key[len(prefixKey("")):]))
		return nil
	})
	s.prefixes.Add(prefixes...)
	return err
}
