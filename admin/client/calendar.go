package client

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// CalendarOptions selects a calendar. The zero value selects that of all active
// keys of the workspace.
type CalendarOptions struct {
	// KeyID limits the calendar to one key; "" for all of them.
	KeyID string
	// ETag is that of the calendar that the caller already has; "" for none.
	ETag string
}

// Calendar is an iCalendar object (RFC 5545): an event for the end of each active
// key, with reminders 14 and 3 days before.
type Calendar struct {
	// Data is the object, in UTF-8; nil if NotModified.
	Data []byte
	// ETag names this version of the calendar.
	ETag string
	// NotModified means that the calendar with the given ETag is still current.
	NotModified bool
}

type feedAnswer struct {
	Path string `json:"path"`
}

type feedRevokedAnswer struct {
	Revoked *bool `json:"revoked"`
}

func (a *feedAnswer) served() bool        { return feedPath.MatchString(a.Path) }
func (a *feedRevokedAnswer) served() bool { return a.Revoked != nil }

// Calendar returns when the keys of a workspace end.
func (c *Client) Calendar(ctx context.Context, ws string, options CalendarOptions) (Calendar, error) {
	path, err := workspacePath(ws, "/calendar.ics")
	if err != nil {
		return Calendar{}, err
	}
	if options.KeyID != "" && !keyID.MatchString(options.KeyID) {
		return Calendar{}, errKeyID(options.KeyID)
	}
	request, err := c.request(ctx, http.MethodGet, withQuery(path, map[string]string{"key": options.KeyID}), nil)
	if err != nil {
		return Calendar{}, err
	}
	return c.readCalendar(request, options.ETag)
}

// CreateFeed creates a calendar feed for a workspace that can be read without the
// admin token, and revokes its previous feed. It returns the feed's path below the
// mount, to be appended to [Client.BaseURL]. The path is a secret, and cannot be
// retrieved again.
func (c *Client) CreateFeed(ctx context.Context, ws string) (path string, err error) {
	below, err := workspacePath(ws, "/calendar/feed")
	if err != nil {
		return "", err
	}
	var answer feedAnswer
	if err := c.call(ctx, http.MethodPost, below, nil, &answer); err != nil {
		return "", err
	}
	return answer.Path, nil
}

// RevokeFeed revokes the calendar feed of a workspace, and reports whether there
// was one.
func (c *Client) RevokeFeed(ctx context.Context, ws string) (revoked bool, err error) {
	path, err := workspacePath(ws, "/calendar/feed")
	if err != nil {
		return false, err
	}
	var answer feedRevokedAnswer
	if err := c.call(ctx, http.MethodDelete, path, nil, &answer); err != nil {
		return false, err
	}
	return *answer.Revoked, nil
}

// ReadFeed returns a calendar by the path that [Client.CreateFeed] returned. The
// admin token is not sent. The etag is as in [CalendarOptions]. A revoked feed is
// [CodeNotFound].
func (c *Client) ReadFeed(ctx context.Context, path, etag string) (Calendar, error) {
	if !feedPath.MatchString(path) {
		return Calendar{}, errFeedPath
	}
	request, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return Calendar{}, withoutPath(err, path)
	}
	request.Header.Del("Authorization")
	calendar, err := c.readCalendar(request, etag)
	return calendar, withoutPath(err, path)
}

// withoutPath removes the secret path of a feed from a transport's error, which
// contains the URL.
func withoutPath(err error, path string) error {
	if transport, ok := errors.AsType[*url.Error](err); ok {
		transport.URL = strings.ReplaceAll(transport.URL, path, "/calendar/…")
	}
	return err
}

func (c *Client) readCalendar(request *http.Request, etag string) (Calendar, error) {
	if etag != "" {
		request.Header.Set("If-None-Match", etag)
	}
	body, response, err := fetch(c.http(), request)
	if err != nil {
		return Calendar{}, err
	}
	tag := response.Header.Get("ETag")
	if response.StatusCode == http.StatusNotModified && etag != "" {
		return Calendar{ETag: tag, NotModified: true}, nil
	}
	if media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || media != "text/calendar" || tag == "" {
		return Calendar{}, ErrNotServed
	}
	return Calendar{Data: body, ETag: tag}, nil
}
