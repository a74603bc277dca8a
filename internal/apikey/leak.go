package apikey

import "net/url"

// OpLeak records that a key's token was found in public.
const OpLeak Operation = "leak"

// Leak marks a key whose token was found in public and, with Revoke, ends it like [Revoke].
// If it is marked already and is not to be ended, it changes nothing and records no event.
type Leak struct {
	WorkspaceID string
	KeyID       string
	// Source is who reported it: "github".
	Source string
	// URL is where the token was found, as [PublicURL] returns it; "" if that is not known.
	URL    string
	Revoke bool
}

func (Leak) Operation() Operation        { return OpLeak }
func (a Leak) Subject() (string, string) { return a.WorkspaceID, a.KeyID }

// maxPublicURL is how long the address at which a token was found may be.
const maxPublicURL = 400

// PublicURL returns an address that somebody has reported, without any token in it, or "" if
// it is none that people can open.
func PublicURL(reported string) string {
	u, err := url.Parse(reported)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	clean := RedactTokens(u.String())
	if !text(clean, 0, maxPublicURL) {
		return ""
	}
	return clean
}

// LeakReason is the reason of a revocation because a token was found at an address.
func LeakReason(publicURL string) string {
	if publicURL == "" {
		return "Its token was found in public."
	}
	return "Its token was found in public: " + publicURL
}
