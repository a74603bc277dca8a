package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// A grant is kept with the digest of its key's token, so that a request needs one read,
// and not the record of the key. It is, in this order:
//
//	form           one byte
//	what is set    one byte: see below
//	its instants   when it was created and expires, and the rare ones, each as a varint
//	the lengths    of the id and of the workspace id, each as a uvarint
//	id, workspace id and name
//	a checksum     of the digest and all of the above, CRC-32C, in four bytes
const grantForm = 1

// What is set in a grant.
const (
	grantsWriting = 1 << iota
	grantReplaced
	grantImported
	grantUnknown // and all above
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errGrant = errors.New("the entry of a token is damaged")

// grantInstants returns the instants of a grant, in their order.
func grantInstants(g *apikey.Grant, rare *apikey.Rare) [6]*apikey.Instant {
	return [...]*apikey.Instant{&g.CreatedAt, &g.ExpiresAt, &rare.RevokesAt, &rare.RevokedAt, &rare.ReplacedAt, &rare.ExposedAt}
}

func encodeGrant(g apikey.Grant) []byte {
	var set byte
	if g.MayWrite {
		set |= grantsWriting
	}
	if g.Replaced {
		set |= grantReplaced
	}
	if g.Imported {
		set |= grantImported
	}
	id, workspace, name := g.ID(), g.WorkspaceID(), g.Name()
	to := make([]byte, 0, 64+len(id)+len(workspace)+len(name))
	to = append(to, grantForm, set)
	rare := g.Rare()
	for _, at := range grantInstants(&g, &rare) {
		to = binary.AppendVarint(to, int64(*at))
	}
	to = binary.AppendUvarint(to, uint64(len(id)))
	to = binary.AppendUvarint(to, uint64(len(workspace)))
	to = append(to, id...)
	to = append(to, workspace...)
	to = append(to, name...)
	return binary.LittleEndian.AppendUint32(to, grantSum(g.Digest[:], to))
}

func grantSum(digest, encoded []byte) uint32 {
	return crc32.Update(crc32.Checksum(digest, castagnoli), castagnoli, encoded)
}

// decodeGrant decodes the grant of the key whose token has the digest. An inconsistent
// one must never let a request through.
func decodeGrant(digest, value []byte) (g apikey.Grant, err error) {
	end := len(value) - crc32.Size
	if end < 2 || value[0] != grantForm || value[1] >= grantUnknown || len(digest) != len(g.Digest) ||
		binary.LittleEndian.Uint32(value[end:]) != grantSum(digest, value[:end]) {
		return g, errGrant
	}
	set, rest := value[1], value[2:end]
	g.Digest, g.MayWrite, g.Replaced, g.Imported = apikey.Digest(digest), set&grantsWriting != 0, set&grantReplaced != 0, set&grantImported != 0
	var rare apikey.Rare
	for _, at := range grantInstants(&g, &rare) {
		n, size := binary.Varint(rest)
		if size <= 0 {
			return apikey.Grant{}, errGrant
		}
		*at, rest = apikey.Instant(n), rest[size:]
	}
	g.SetRare(rare)
	var lengths [2]int
	for i := range lengths {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)) {
			return apikey.Grant{}, errGrant
		}
		lengths[i], rest = int(n), rest[size:]
	}
	if !g.SetNames(string(rest), lengths[0], lengths[1]) || g.ID() == "" || g.ExpiresAt == 0 ||
		apikey.ValidateWorkspaceID(g.WorkspaceID()) != nil {
		return apikey.Grant{}, errGrant
	}
	return g, nil
}

// grantKeys has keys for Grant to use, which would otherwise allocate one.
var grantKeys = sync.Pool{New: func() any { return new([]byte) }}

// Grant returns what a request needs to know of the key whose token has the given digest,
// regardless of its status, or [apikey.ErrNotFound].
func (s *Store) Grant(digest apikey.Digest) (g apikey.Grant, err error) {
	key := grantKeys.Get().(*[]byte)
	defer grantKeys.Put(key)
	*key = append(append((*key)[:0], digestPrefix...), digest[:]...)
	err = s.db.Look(*key, func(value []byte) (err error) {
		g, err = decodeGrant((*key)[len(digestPrefix):], value)
		return err
	})
	if errors.Is(err, durable.ErrNotFound) {
		err = apikey.ErrNotFound
	}
	return g, s.wrapInternal(err)
}

// grantOf returns the grant of a digest, or [apikey.ErrNotFound].
func grantOf(txn reader, digest apikey.Digest) (apikey.Grant, error) {
	value, err := txn.Get(digestKey(digest))
	if errors.Is(err, durable.ErrNotFound) {
		return apikey.Grant{}, apikey.ErrNotFound
	}
	if err != nil {
		return apikey.Grant{}, err
	}
	return decodeGrant(digest[:], value)
}
