package apikey

// Bearer returns the token of an Authorization header field: the scheme in any case,
// exactly one space, and the rest. RFC 6750, section 2.1, allows more spaces; two
// readers of such a field need not agree on the token.
func Bearer(field string) (token string, ok bool) {
	const scheme = "bearer "
	if len(field) <= len(scheme) {
		return "", false
	}
	for i := range len(scheme) {
		c := field[i]
		if isUpper(c) {
			c += 'a' - 'A'
		}
		if c != scheme[i] {
			return "", false
		}
	}
	return field[len(scheme):], true
}
