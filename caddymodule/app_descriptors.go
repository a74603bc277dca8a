package caddymodule

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/authn"
)

// The number of files and connections that a process may open is limited. If clients
// used all of them, none would be left for the admin socket, possibly just when a key
// has to be revoked. So the last ones are reserved: neither clients nor the upstreams
// of their requests may use them. The system gives a new connection the lowest free
// descriptor, so its number tells how many are open.

// fewDescriptors is a limit that a public site may reach on an ordinary day.
const fewDescriptors = 4096

// reservedOf returns how many of the files that a process may open are reserved for
// the admin socket, the store and logs.
func reservedOf(limit uint64) uint64 { return min(limit/8, 1024) }

// reserveDescriptors has all servers of the configuration close new connections that
// would use reserved descriptors, and refuse requests for which there is no room. Servers
// without an api_key_auth do too, such as the one that Caddy adds to redirect to HTTPS:
// their clients use descriptors of the same process.
func (a *App) reserveDescriptors(ctx caddy.Context) {
	limit, known := descriptorLimit()
	app, err := ctx.AppIfConfigured("http")
	if err != nil || !known {
		return
	}
	descriptors.last.Store(limit - reservedOf(limit))
	for _, server := range app.(*caddyhttp.App).Servers {
		if _, twice := a.guarded.LoadOrStore(server, true); !twice {
			closeCrowding(server, limit)
			countRequests(server)
		}
	}
}

// closeCrowding has a server close new connections that leave too few descriptors.
func closeCrowding(server *caddyhttp.Server, limit uint64) {
	log, last := sampledLogger(), limit-reservedOf(limit)
	server.RegisterConnState(func(conn net.Conn, state http.ConnState) {
		if state != http.StateNew {
			return
		}
		number := descriptorOf(conn, limit)
		descriptors.crowded.Store(number >= limit/4)
		if number >= last-last/4 { // the rest is for the upstreams of open connections
			_ = conn.Close()
			log.Error("closed a connection, because this process has almost reached its limit of open files: raise the limit (ulimit -n, or LimitNOFILE of the systemd unit)",
				zap.Uint64("limit", limit))
		}
	})
}

// countRequests has a server refuse requests for which there is no room, whichever
// handlers they would come to. Caddy has no place for a handler before all others. But it
// makes its http.Server anew for each configuration, and no request is served before the
// context of a first connection was made.
//
// It does not see requests over HTTP/3, of which an api_key_auth counts those that it gets.
func countRequests(server *caddyhttp.Server) {
	var first sync.Once
	server.RegisterConnContext(func(ctx context.Context, _ net.Conn) context.Context {
		first.Do(func() {
			if s, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok {
				s.Handler = counted{s.Handler}
			}
		})
		return ctx
	})
}

// counted is the handler of a server whose requests are counted.
type counted struct{ http.Handler }

func (c counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer leaveRoom()
	if enterRoom() {
		c.Handler.ServeHTTP(w, r)
		return
	}
	collectors.CountRequest(&authn.Decision{Result: authn.Unavailable, Action: authn.Read}, 0)
	sampledLogger().Error("refused a request, because this process has almost reached its limit of open files: raise the limit (ulimit -n, or LimitNOFILE of the systemd unit)",
		zap.Uint64("open_requests_at_most", descriptors.last.Load()/4))
	_ = unavailable.write(w, r)
}

// isCounted reports whether a request has come through a counted handler.
func isCounted(r *http.Request) bool { return r.ProtoMajor < 3 }

// descriptors tracks how close the process is to its limit. A request needs a
// descriptor for its upstream, or for the file that it gets, in addition to that of its
// connection, and one HTTP/2 connection may carry many requests.
var descriptors struct {
	last     atomic.Uint64 // the first reserved one; 0 if the limit is not known
	crowded  atomic.Bool   // the latest connection got a number above a quarter of the limit
	requests atomic.Int64  // that have entered the room, and not left it
}

// enterRoom reports whether there is room for one more request, which leaves it again
// with leaveRoom in either case. Many can enter before one of them has connected to its
// upstream, so they are counted: they may use the quarter that connections leave them. If
// others have taken of that, as the numbers of descriptors tell, there is less room.
func enterRoom() bool {
	d := &descriptors
	requests, last := d.requests.Add(1), d.last.Load()
	switch {
	case last == 0:
		return true
	case requests > int64(last/4):
		return false
	case !d.crowded.Load():
		return true
	}
	number, ok := nextDescriptor()
	return ok && number < last
}

// hasRoomForKeys reports whether there is room for a request with an API key that has entered.
// The last eighth of it is for other requests, such as those to revoke keys.
func hasRoomForKeys() bool {
	last := descriptors.last.Load()
	return last == 0 || descriptors.requests.Load() <= int64(last/4-last/32)
}

func leaveRoom() { descriptors.requests.Add(-1) }

func returnToRoom() { descriptors.requests.Add(1) }

// descriptorOf returns the descriptor of a new connection. Those of some listener wrappers,
// such as proxy_protocol, do not say which they have: then it is that of the next file, or
// the limit if there is none.
func descriptorOf(conn net.Conn, limit uint64) uint64 {
	if number, ok := ownDescriptor(conn); ok {
		return number
	}
	if number, ok := nextDescriptor(); ok {
		return number
	}
	return limit
}

func ownDescriptor(conn net.Conn) (number uint64, ok bool) {
	for {
		wrapper, wrapped := conn.(interface{ NetConn() net.Conn })
		if !wrapped {
			break
		}
		conn = wrapper.NetConn()
	}
	system, ok := conn.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := system.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) { number = uint64(fd) })
	return number, err == nil
}

// warnOfFewDescriptors logs a warning if clients could easily reach the limit.
func warnOfFewDescriptors(log *zap.Logger) {
	if limit, known := descriptorLimit(); known && limit < fewDescriptors {
		log.Warn("this process has a low limit of open files, and a request takes up to two: raise the limit (ulimit -n, or LimitNOFILE of the systemd unit)",
			zap.Uint64("limit", limit), zap.Uint64("for_clients", limit-reservedOf(limit)))
	}
}
