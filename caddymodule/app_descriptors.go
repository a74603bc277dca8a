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

// A process may open so many files and connections, and no more: once clients have
// taken them all, none is left for the admin socket, just when a key is to be
// revoked. So the last ones are not for clients, nor for the upstreams of their
// requests. The system gives a new connection
// the lowest number that is free, and so that says how many there are.

// fewDescriptors is a limit that a public site may reach on an ordinary day.
const fewDescriptors = 4096

// reservedOf returns how many of the files that a process may open are kept from
// clients: for the admin socket, the store and logs.
func reservedOf(limit uint64) uint64 { return min(limit/8, 1024) }

// keepDescriptors has a server close at once what would take the last of them.
func (a *App) keepDescriptors(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	limit, known := descriptorLimit()
	if !ok || !known {
		return
	}
	if _, twice := a.kept.LoadOrStore(server, true); twice {
		return
	}
	log, last := sampledLogger(), limit-reservedOf(limit)
	descriptors.many.Store(limit / 4)
	descriptors.last.Store(last)
	server.RegisterConnState(func(conn net.Conn, state http.ConnState) {
		if state != http.StateNew {
			return
		}
		number, ok := descriptorOf(conn)
		descriptors.crowded.Store(!ok || number >= limit/4)
		if ok && number >= last-last/4 { // the rest is for the upstreams of those that are open
			_ = conn.Close()
			log.Error("closed a connection, because this process has almost reached its limit of open files: raise the limit (ulimit -n, or LimitNOFILE of the systemd unit)",
				zap.Uint64("limit", limit))
		}
	})
}

// descriptors says whether a request still leaves the last ones free: it takes one
// for its upstream, beside that of its connection, or many of one connection do.
var descriptors struct {
	many, last atomic.Uint64 // from how many on they are counted, and what is not for clients; 0 if that is not known
	crowded    atomic.Bool   // the last connection was given one of many
	requests   atomic.Int64  // under way
}

// roomForRequest reports whether one more request may be handed on. It asks the
// system only where connections or requests have taken a quarter of what there is.
func roomForRequest() bool {
	d := &descriptors
	last := d.last.Load()
	if last == 0 || !d.crowded.Load() && uint64(d.requests.Load()) < d.many.Load() {
		return true
	}
	number, ok := nextDescriptor()
	return ok && number < last
}

// descriptorOf returns the number that the system has given to a connection.
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

// warnOfFewDescriptors says in the log that clients will soon have taken what the
// limit allows.
func warnOfFewDescriptors(log *zap.Logger) {
	if limit, known := descriptorLimit(); known && limit < fewDescriptors {
		log.Warn("this process has a low limit of open files, and a request takes up to two: raise the limit (ulimit -n, or LimitNOFILE of the systemd unit)",
			zap.Uint64("limit", limit), zap.Uint64("for_clients", limit-reservedOf(limit)))
	}
}
