package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// ClockAnswer is what the server makes of its machine's clock.
type ClockAnswer struct {
	Clock Clock `json:"clock"`
}

// Clock is a machine's clock beside the time that is certain to have passed.
type Clock struct {
	Status    apikey.ClockStatus `json:"status"` // ok, ahead or behind
	Machine   time.Time          `json:"machine"`
	Confirmed time.Time          `json:"confirmed"`
	Judged    time.Time          `json:"judged"` // keys are judged by this time
	// OffsetSeconds is how far the machine's clock is ahead of the confirmed time.
	OffsetSeconds int64 `json:"offset_seconds"`
}

// NewClockAnswer returns a reading as it is shown.
func NewClockAnswer(reading apikey.ClockReading) ClockAnswer {
	return ClockAnswer{Clock{
		Status: reading.Status(), Machine: shownTime(reading.Machine), Confirmed: shownTime(reading.Confirmed),
		Judged: shownTime(reading.Judged), OffsetSeconds: int64(reading.Offset() / time.Second),
	}}
}

func shownTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func (h *Handler) showClock(*http.Request) (int, any, error) {
	if err := h.Keys().Ping(); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, NewClockAnswer(h.Clock()), nil
}

// TrustAnswer says what came of it that the clock was trusted.
type TrustAnswer struct {
	Clock   Clock `json:"clock"`
	Revoked int   `json:"revoked"` // keys that would have been active again, and must not be
}

// trustClock makes the machine's time the confirmed one.
func (h *Handler) trustClock(r *http.Request) (int, any, error) {
	reason, err := reasonOf(r)
	if err != nil {
		return 0, nil, err
	}
	reading := h.Clock()
	outcome, err := h.apply(r, shownTime(reading.Machine), apikey.TrustClock{Clock: reading, Reason: reason})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, TrustAnswer{Clock: NewClockAnswer(h.Clock()).Clock, Revoked: outcome.Revoked}, nil
}

// Clock returns what the server makes of its machine's clock.
func (c *Client) Clock(ctx context.Context) (answer ClockAnswer, err error) {
	err = c.call(ctx, http.MethodGet, "/clock", nil, &answer)
	return answer, err
}

// TrustClock has the server take its machine's clock for right.
func (c *Client) TrustClock(ctx context.Context, reason string) (answer TrustAnswer, err error) {
	err = c.call(ctx, http.MethodPost, "/clock/trust", ReasonRequest{Reason: reason}, &answer)
	return answer, err
}

func (a *ClockAnswer) served() bool { return a.Clock.Status != "" }
func (a *TrustAnswer) served() bool { return a.Clock.Status != "" }
