package caddymodule

import (
	"net"
	"net/http"
	"sync/atomic"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
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

// reserveDescriptors has a server close new connections that would use reserved
// descriptors.
func (a *App) reserveDescriptors(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	limit, known := descriptorLimit()
	if !ok || !known {
		return
	}
	if _, twice := a.guarded.LoadOrStore(server, true); twice {
		return
	}
	log, last := sampledLogger(), limit-reservedOf(limit)
	descriptors.last.Store(last)
	server.RegisterConnState(func(conn net.Conn, state http.ConnState) {
		if state != http.StateNew {
			return
		}
		number, ok := descriptorOf(conn)
		descriptors.crowded.Store(!ok || number >= limit/4)
		if ok && number >= last-last/4 { // the rest is for the upstreams of open connections
			_ = conn.Close()
			log.Error("closed a connection, because this process has almost reached its limit of open files: raise the limit (ulimit -n, or LimitNOFILE of the systemd unit)",
				zap.Uint64("limit", limit))
		}
	})
}

// descriptors tracks how close the process is to its limit. A request needs a
// descriptor for its upstream in addition to that of its connection, and one HTTP/2
// connection may carry many requests.
var descriptors struct {
	last     atomic.Uint64 // the first reserved one; 0 if the limit is not known
	crowded  atomic.Bool   // the latest connection got a number above a quarter of the limit
	requests atomic.Int64  // that there was room for, and that have not left it
}

// enterRoom reports whether there is room for one more request, which leaves it again
// with leaveRoom. Many can enter before one of them has connected to its upstream, so
// they are counted: they may use the quarter that connections leave them. If others have
// taken of that, as the numbers of descriptors tell, there is less room.
func enterRoom() bool {
	d := &descriptors
	requests, last := uint64(d.requests.Add(1)), d.last.Load()
	if last == 0 {
		return true
	}
	if requests <= last/4 {
		if !d.crowded.Load() {
			return true
		}
		if number, ok := nextDescriptor(); ok && number < last {
			return true
		}
	}
	leaveRoom()
	return false
}

func leaveRoom() { descriptors.requests.Add(-1) }

// descriptorOf returns the descriptor of a connection.
func descriptorOf(conn net.Conn) (number uint64, ok bool) {
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
