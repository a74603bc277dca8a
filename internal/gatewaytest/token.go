package gatewaytest

import (
	"hash/crc32"
	"strings"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// OtherToken returns a well-formed token that differs from the given one in its
// secret.
func OtherToken(token string) string {
	body := []byte(token[:len(token)-6])
	last := &body[len(body)-1]
	*last = base62[(strings.IndexByte(base62, *last)+1)%62]
	sum := crc32.ChecksumIEEE(body)
	check := make([]byte, 6)
	for i := 5; i >= 0; i-- {
		check[i] = base62[sum%62]
		sum /= 62
	}
	return string(body) + string(check)
}
