package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	// tryTimeout bounds one try, from the look-up of the name to the answer.
	tryTimeout = 10 * time.Second
	// maxAnswer is how much of an answer is read, so that its connection can be used again.
	maxAnswer = 16 << 10
	// maxReason bounds what is logged of a failure: a receiver has a say in it.
	maxReason = 200
)

// Sender sends messages to one receiver. It is safe for concurrent use.
type Sender struct {
	url     *url.URL
	secrets []Secret
	client  *http.Client
}

// NewSender returns a sender to an address of [ParseAddress]. Messages are signed with each
// of the secrets, of which there is at least one.
func NewSender(to *url.URL, secrets []Secret) *Sender {
	dialer := &net.Dialer{Timeout: tryTimeout}
	if to.Scheme == "http" {
		dialer.Control = onlyLoopback
	}
	return &Sender{to, secrets, &http.Client{
		// A proxy would see what is meant for the receiver, so none is taken from the environment.
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    workers,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// String returns the address, as it may be logged.
func (s *Sender) String() string { return Shown(s.url) }

// Close closes connections that are idle.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Result is how one try ended.
type Result struct {
	// Status is that of the answer, 0 if there was none.
	Status int
	// Failure says why the message was not received, "" if it was. It is no longer than a
	// line, and contains no secret.
	Failure string
	// RetryAfter is how long the receiver asked to wait, 0 if it did not.
	RetryAfter time.Duration
	// Took is how long the try took.
	Took time.Duration
}

// Received reports whether the receiver has the message.
func (r Result) Received() bool { return r.Status >= 200 && r.Status < 300 }

// gone reports whether the receiver wants no more messages.
func (r Result) gone() bool { return r.Status == http.StatusGone }

// Send tries once to deliver a message.
func (s *Sender) Send(ctx context.Context, id string, body []byte) Result {
	begun := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, tryTimeout, errSlow)
	defer cancel()
	result, err := s.try(ctx, id, begun, body)
	if err != nil {
		result.Failure = reason(ctx, err)
	}
	result.Took = time.Since(begun)
	return result
}

var errSlow = fmt.Errorf("no answer within %s", tryTimeout)

func (s *Sender) try(ctx context.Context, id string, at time.Time, body []byte) (Result, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url.String(), bytes.NewReader(body))
	if err != nil {
		return Result{}, err
	}
	signature, err := sign(s.secrets, id, at, body)
	if err != nil {
		return Result{}, err
	}
	request.Header = http.Header{
		"Content-Type": {"application/json"},
		"User-Agent":   {"caddy-api-keys"},
		// Not sent: it has a request repeated immediately if it met a connection that the
		// receiver was about to close.
		"Idempotency-Key": {},
	}
	request.Header.Set(standardwebhooks.HeaderWebhookID, id)
	request.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	request.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	answer, err := s.client.Do(request)
	if err != nil {
		return Result{}, err
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	result := Result{Status: answer.StatusCode}
	if !result.Received() {
		result.Failure = failureOf(result.Status)
		result.RetryAfter = retryAfter(answer.Header.Get("Retry-After"), time.Now())
	}
	return result, nil
}

// failureOf says in words what a status means that is not 2xx.
func failureOf(status int) string {
	text := strings.TrimSpace(fmt.Sprintf("it answered %d %s", status, http.StatusText(status)))
	switch {
	case status == http.StatusGone:
		return text + ": it wants no more messages"
	case status >= 300 && status < 400:
		return text + ": redirects are not followed"
	}
	return text
}

// reason says in a line why there was no answer, without the address.
func reason(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return context.Cause(ctx).Error()
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	text := strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return ' '
	}, err.Error())
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// retryAfter reads the header Retry-After: seconds, or a time.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
