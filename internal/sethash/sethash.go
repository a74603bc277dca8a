// Package sethash hashes sets of records, so that two sets can be compared without reading
// them, and a record can be added or removed without knowing the others.
//
// It is LtHash, with 1024 lanes of 16 bits: each record is expanded to as much output of
// SHAKE128, and the hash of a set is the sum of its records, lane by lane. Nobody is known
// to be able to find two sets with the same hash, not even by choosing the records, and
// that rests on no secret. The sum of ordinary hashes, or their exclusive or, would be
// solved for the records that are missing.
//
// See Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing" (1997), and Lewi
// et al., "Securing Update Propagation with Homomorphic Hashing" (2019).
package sethash

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"errors"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const lanes = 1024

// Hash is the hash of a set of records. Its zero value is that of the empty set. It is not
// safe for concurrent use.
type Hash [lanes]uint16

// Add adds a record, which must not be in the set.
func (h *Hash) Add(r apikey.Record) {
	for i, lane := range expand(r) {
		h[i] += lane
	}
}

// Remove removes a record, which must be in the set with that value.
func (h *Hash) Remove(r apikey.Record) {
	for i, lane := range expand(r) {
		h[i] -= lane
	}
}

// expand returns the hash of one record.
func expand(r apikey.Record) (h Hash) {
	shake := sha3.NewSHAKE128()
	shake.Write([]byte{byte(r.Kind)})
	shake.Write(binary.BigEndian.AppendUint64(nil, uint64(len(r.ID))))
	shake.Write([]byte(r.ID))
	shake.Write(r.Value)
	var output [2 * lanes]byte
	shake.Read(output[:])
	for i := range h {
		h[i] = binary.BigEndian.Uint16(output[2*i:])
	}
	return h
}

// Sum returns 32 bytes that stand for the hash.
func (h *Hash) Sum() []byte {
	sum := sha256.Sum256(h.Encode())
	return sum[:]
}

// Encode returns the hash as bytes, for [Decode].
func (h *Hash) Encode() []byte {
	encoded := make([]byte, 0, 2*lanes)
	for _, lane := range h {
		encoded = binary.BigEndian.AppendUint16(encoded, lane)
	}
	return encoded
}

// Decode is the inverse of [Hash.Encode].
func Decode(encoded []byte) (h Hash, err error) {
	if len(encoded) != 2*lanes {
		return h, errors.New("the hash of a set of records has another length")
	}
	for i := range h {
		h[i] = binary.BigEndian.Uint16(encoded[2*i:])
	}
	return h, nil
}
