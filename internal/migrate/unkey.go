package migrate

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// unkeyKey is a key as the answers to Unkey's apis.listKeys and keys.getKey have it,
// with the hash as keys.migrateKeys takes it:
// https://www.unkey.com/docs/api-reference/v2/keys/migrate-api-keys and
// https://www.unkey.com/docs/api-reference/v2/apis/list-api-keys
type unkeyKey struct {
	Hash       unkeyHash     `json:"hash"`
	Plaintext  string        `json:"plaintext"` // of recoverable keys
	Start      string        `json:"start"`
	Name       string        `json:"name"`
	ExternalID string        `json:"externalId"`
	OwnerID    string        `json:"ownerId"` // of version 1
	Identity   unkeyIdentity `json:"identity"`
	Expires    int64         `json:"expires"`   // milliseconds since 1970
	CreatedAt  int64         `json:"createdAt"` // the same
	Enabled    *bool         `json:"enabled"`

	Meta        jsontext.Value `json:"meta"`
	Permissions jsontext.Value `json:"permissions"`
	Roles       jsontext.Value `json:"roles"`
	Credits     jsontext.Value `json:"credits"`
	Remaining   jsontext.Value `json:"remaining"` // of version 1
	Ratelimit   jsontext.Value `json:"ratelimit"` // of version 1
	Ratelimits  jsontext.Value `json:"ratelimits"`
}

type unkeyIdentity struct {
	ExternalID string         `json:"externalId"`
	Meta       jsontext.Value `json:"meta"`
	Ratelimits jsontext.Value `json:"ratelimits"`
}

// unkeyHash is a hash: a string, or in version 1 an object that says what it is.
type unkeyHash struct{ value, variant string }

// UnmarshalJSON reads either form.
func (h *unkeyHash) UnmarshalJSON(text []byte) error {
	if jsontext.Value(text).Kind() != '{' {
		return json.Unmarshal(text, &h.value)
	}
	var hash struct {
		Value   string `json:"value"`
		Variant string `json:"variant"`
	}
	err := json.Unmarshal(text, &hash)
	h.value, h.variant = hash.Value, hash.Variant
	return err
}

// unkey reads JSON with Unkey's keys: a list of them, answers with a list in "data", or a
// request to migrate them.
func (s *source) unkey(yield func(Entry) bool) error {
	return s.objects(shape{lists: []string{"keys", "data"}, unread: unkeyUnread}, func(o object) bool {
		entry := Entry{Line: o.line}
		var key unkeyKey
		if err := json.Unmarshal(o.value, &key); err != nil {
			entry.Err = refuse("invalid_export", "", "This is not a key as Unkey exports it"+Flaw(err)+".")
		} else {
			key.fill(&entry, s.options)
		}
		return yield(entry)
	})
}

// unkeyUnread reports whether an answer is a page that others follow.
func unkeyUnread(members jsontext.Value, _ int) bool {
	var answer struct {
		Pagination struct {
			HasMore bool `json:"hasMore"`
		} `json:"pagination"`
	}
	return json.Unmarshal(members, &answer) == nil && answer.Pagination.HasMore
}

// leastMilliseconds is a time in milliseconds that would be in the distant future if it
// were in seconds.
const leastMilliseconds = 1e11

func (k *unkeyKey) fill(entry *Entry, options Options) {
	entry.Key.Name, entry.Key.WorkspaceID = k.Name, first(k.ExternalID, k.Identity.ExternalID, k.OwnerID)
	if k.Enabled != nil && !*k.Enabled {
		entry.LeftOut = "disabled"
		return
	}
	if k.Start != "" {
		entry.Key.TokenHint = shorten(k.Start, "…")
	}
	for field, at := range map[string]int64{"expires": k.Expires, "createdAt": k.CreatedAt} {
		if at != 0 && at < leastMilliseconds {
			entry.Err = refuse("invalid_export", field, "This is not a time in milliseconds, as Unkey exports it: "+field+".")
			return
		}
	}
	entry.Key.CreatedAt, entry.Key.ExpiresAt = milliseconds(k.CreatedAt), milliseconds(k.Expires)
	entry.Lost = k.lost()
	switch {
	case k.Plaintext != "":
		entry.Err = entry.hash(k.Plaintext, options)
	case k.Hash.value == "":
		entry.Err = refuse("invalid_token_sha256", "hash", "The key has no hash, and Unkey's list of keys has none: ask Unkey for an export with hashes, or list recoverable keys with decrypt.")
	case k.Hash.variant != "" && k.Hash.variant != "sha256_base64":
		entry.Err = refuse("invalid_token_sha256", "hash", "The hash is not a sha256_base64: give the key's user a new one.")
	default:
		digits, ok := fromBase64(k.Hash.value)
		if !ok {
			entry.Err = refuse("invalid_token_sha256", "hash", "The hash is not a SHA-256 in base64.")
			return
		}
		entry.Key.TokenSHA256 = digits
	}
}

// lost says what the gateway does not keep of a key.
func (k *unkeyKey) lost() (lost []string) {
	for what, values := range map[string][]jsontext.Value{
		"metadata":    {k.Meta, k.Identity.Meta},
		"permissions": {k.Permissions, k.Roles},
		"credits":     {k.Credits, k.Remaining},
		"rate limits": {k.Ratelimit, k.Ratelimits, k.Identity.Ratelimits},
	} {
		if anySet(values...) {
			lost = append(lost, what)
		}
	}
	return lost
}

// anySet reports whether one of the values says something.
func anySet(values ...jsontext.Value) bool {
	for _, value := range values {
		if err := value.Compact(); err != nil {
			continue
		}
		switch string(value) {
		case "", "null", "{}", "[]", "0", `""`, "false":
		default:
			return true
		}
	}
	return false
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func milliseconds(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}
