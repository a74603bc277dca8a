package fleet

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// unconnected is why no member of etcd could be connected to in time.
type unconnected string

func (u unconnected) Error() string { return "cannot connect: " + string(u) }

// Unwrap says that time was up.
func (u unconnected) Unwrap() error { return context.DeadlineExceeded }

// sayWhy has a request fail with an error that says why there is no connection to any member.
// The client would only say that time was up.
func sayWhy(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	if s, ok := status.FromError(err); ok && s.Code() == codes.DeadlineExceeded {
		if why := whyUnconnected(s.Message()); why != "" {
			return unconnected(why)
		}
	}
	return err
}

var (
	quoted = regexp.MustCompile(`desc = (".*")`)
	// What differs each time would be logged each time.
	address     = regexp.MustCompile(`\b(dial|read|write) (tcp|udp) \S+: `)
	currentTime = regexp.MustCompile(`: current time \S+ is `)
)

// whyUnconnected returns what a message of gRPC says about the last connection that failed,
// "" if it is about something else.
func whyUnconnected(message string) string {
	why, found := strings.CutPrefix(message, "latest balancer error: ")
	if !found {
		return ""
	}
	if desc := quoted.FindStringSubmatch(why); desc != nil {
		if text, err := strconv.Unquote(desc[1]); err == nil {
			why = strings.TrimPrefix(text, "transport: ")
		}
	}
	why = strings.TrimPrefix(why, "Error while dialing: ")
	return currentTime.ReplaceAllString(address.ReplaceAllString(why, "$1 $2: "), ": it is ")
}
