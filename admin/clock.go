package admin

import (
	"net/http"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// clockAnswer compares the machine's clock with the confirmed time.
type clockAnswer struct {
	Clock client.Clock `json:"clock"`
}

// presentClock returns a reading in the form of the API.
func presentClock(reading apikey.ClockReading) clockAnswer {
	return clockAnswer{client.Clock{
		Status: string(reading.Status()), Machine: shownTime(reading.Machine), Confirmed: shownTime(reading.Confirmed),
		Judged: shownTime(reading.Judged), OffsetSeconds: int64(reading.Offset() / time.Second),
	}}
}

func shownTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func (h *Handler) showClock(*http.Request) (int, any, error) {
	if err := h.keys().Ping(); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, presentClock(h.Clock()), nil
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
	return http.StatusOK, client.ClockTrust{Clock: presentClock(h.Clock()).Clock, Revoked: outcome.Revoked}, nil
}
