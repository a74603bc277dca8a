package migrate

import (
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// tykKey is a key as the answers of Tyk's Dashboard and Gateway have it, with its session
// in a member of its own or not: https://tyk.io/docs/api-reference/keys/list-all-the-keys-info
// and https://tyk.io/docs/api-management/access-control/sessions-and-keys/key-hashing
type tykKey struct {
	Hash       string      `json:"key_hash"`
	Key        string      `json:"key"` // the token
	ID         string      `json:"key_id"`
	Algorithm  string      `json:"hash_algorithm"`
	Data       *tykSession `json:"data"`
	tykSession `json:",inline"`
}

type tykSession struct {
	Alias       string `json:"alias"`
	OrgID       string `json:"org_id"`
	Expires     int64  `json:"expires"` // seconds since 1970; 0 or less for never
	DateCreated string `json:"date_created"`
	Inactive    bool   `json:"is_inactive"`

	OAuthClient string `json:"oauth_client_id"`
	HMAC        bool   `json:"hmac_enabled"`
	BasicAuth   struct {
		Password string `json:"password"`
	} `json:"basic_auth_data"`
	JWT struct {
		Secret string `json:"secret"`
	} `json:"jwt_data"`

	Rate         jsontext.Value `json:"rate"`
	QuotaMax     jsontext.Value `json:"quota_max"`
	Meta         jsontext.Value `json:"meta_data"`
	Tags         jsontext.Value `json:"tags"`
	AccessRights jsontext.Value `json:"access_rights"`
	Policies     jsontext.Value `json:"apply_policies"`
	Policy       jsontext.Value `json:"apply_policy_id"`
}

// tyk reads JSON with Tyk's keys: the Dashboard's list of them, keys one after the other,
// or an object that has sessions by their hashes, as Redis does.
func (s *source) tyk(yield func(Entry) bool) error {
	of := shape{
		lists:  []string{"keys"},
		keyed:  func(name string) bool { return tykHash.MatchString(strings.TrimPrefix(name, tykPrefix)) },
		unread: tykUnread,
	}
	return s.objects(of, func(o object) bool {
		entry := Entry{Line: o.line}
		var key tykKey
		if err := json.Unmarshal(o.value, &key); err != nil {
			entry.Err = refuse("invalid_export", "", "This is not a key with its session as Tyk exports it"+Flaw(err)+".")
		} else {
			if o.name != "" {
				key.Hash = strings.TrimPrefix(o.name, tykPrefix)
			}
			key.fill(&entry, s.options)
		}
		return yield(entry)
	})
}

// tykUnread reports whether the Dashboard has more pages of its list than were read.
func tykUnread(members jsontext.Value, answers int) bool {
	var answer struct {
		Pages int `json:"pages"`
	}
	return json.Unmarshal(members, &answer) == nil && answer.Pages > answers
}

const tykPrefix = "apikey-" // of the names in Redis

// tykHash are the hashes of Tyk, by their lengths: of murmur32, 64 and 128, and SHA-256.
var tykHash = regexp.MustCompile(`^([0-9a-f]{8}|[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{64})$`)

func (k *tykKey) fill(entry *Entry, options Options) {
	session := &k.tykSession
	if k.Data != nil {
		session = k.Data
	}
	entry.Key.Name, entry.Key.WorkspaceID = session.Alias, session.OrgID
	switch {
	case session.Inactive:
		entry.LeftOut = "disabled"
		return
	case session.OAuthClient != "" || session.HMAC || session.BasicAuth.Password != "" || session.JWT.Secret != "":
		entry.LeftOut = "not an auth token"
		return
	case session.Expires >= leastMilliseconds:
		entry.Err = refuse("invalid_export", "expires", "This is not a time in seconds, as Tyk exports it: expires.")
		return
	case session.Expires > 0:
		entry.Key.ExpiresAt = time.Unix(session.Expires, 0).UTC()
	}
	if created, err := time.Parse(time.RFC3339, session.DateCreated); err == nil && created.Unix() > 0 {
		entry.Key.CreatedAt = created.UTC()
	}
	entry.Lost = session.lost()
	k.digest(entry, options)
}

// digest finds the hash of a key, or makes it from the token.
func (k *tykKey) digest(entry *Entry, options Options) {
	named := first(k.Hash, k.ID)
	switch {
	case k.Key != "":
		entry.Err = entry.hash(k.Key, options)
	case k.Algorithm != "" && k.Algorithm != "sha256", named != "" && len(named) != 64 && tykHash.MatchString(named):
		entry.Err = refuse("invalid_token_sha256", "key_hash", "Tyk has hashed this key with murmur, from which its SHA-256 cannot be derived: put the token itself into \"key\", or give its user a new key.")
	case sha256Digits.MatchString(named):
		entry.Key.TokenSHA256 = named
	case k.Hash == "" && k.ID != "": // Tyk does not hash keys
		entry.Err = entry.hash(k.ID, options)
	case named == "":
		entry.Err = refuse("invalid_token_sha256", "key_hash", "The session lacks its key_hash: add it.")
	default:
		entry.Err = refuse("invalid_token_sha256", "key_hash", "The key_hash is not a SHA-256.")
	}
}

// lost says what the gateway does not keep of a session.
func (s *tykSession) lost() (lost []string) {
	for what, values := range map[string][]jsontext.Value{
		"rate limits":   {s.Rate},
		"quotas":        {unlessNegative(s.QuotaMax)},
		"metadata":      {s.Meta},
		"tags":          {s.Tags},
		"access rights": {s.AccessRights, s.Policies, s.Policy},
	} {
		if anySet(values...) {
			lost = append(lost, what)
		}
	}
	return lost
}

// unlessNegative returns a number, or nothing for a negative one, which stands for none.
func unlessNegative(number jsontext.Value) jsontext.Value {
	if strings.HasPrefix(strings.TrimSpace(string(number)), "-") {
		return nil
	}
	return number
}
