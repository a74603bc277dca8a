package delivery

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// ParseAddress reads the address of a receiver: https, or http on this machine. Errors do not
// contain it, because of what may be in it.
func ParseAddress(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("want an address such as https://hooks.example.com/api-keys")
	case u.User != nil:
		return nil, errors.New("the address contains credentials: remove them, receivers verify the signature instead")
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, errors.New("the address has a fragment (#), which is never sent: remove it")
	case !validPort(u.Port()) || strings.HasSuffix(u.Host, ":"):
		return nil, fmt.Errorf("%q is not a port: want 1 to 65535", u.Port())
	case u.Scheme == "http" && !namesLoopback(u.Hostname()):
		return nil, errors.New("http is for receivers on this machine alone (localhost, 127.0.0.1, [::1]): use https")
	}
	return normalized(u), nil
}

func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// normalized spells an address like all others that mean the same.
func normalized(u *url.URL) *url.URL {
	same := *u
	same.Host = strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"http": ":80", "https": ":443"} {
		if u.Scheme == scheme {
			same.Host = strings.TrimSuffix(same.Host, port)
		}
	}
	if same.Path == "" {
		same.Path = "/"
	}
	return &same
}

// Shown returns an address as it may be logged: a query often contains secrets.
func Shown(u *url.URL) string {
	shown := *u
	if shown.RawQuery != "" {
		shown.RawQuery = "..."
	}
	return shown.String()
}

func namesLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

var errNotLoopback = errors.New("the name of the receiver does not resolve to this machine, and http is for receivers on it alone")

// onlyLoopback is the Control of a dialer that connects to this machine alone, whatever a
// name resolves to.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err == nil && host != "localhost" && namesLoopback(host) {
		return nil
	}
	return errNotLoopback
}
