package test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// try is one request with a key.
type try struct {
	begun, ended time.Time
	status       int
	err          error // it has no answer, or not all of it
}

// cut reports whether the answer was cut off, as one is that had begun when the key ended.
func (o try) cut() bool {
	return errors.Is(o.err, io.EOF) || errors.Is(o.err, io.ErrUnexpectedEOF)
}

// TestRevoke_underLoad revokes keys while clients use them as fast as they can,
// on a server that others keep busy, and holds that no request that begins after
// the answer is accepted: neither with a key that is in memory, nor with one that
// is being read from the store just then. One that had begun may be accepted,
// refused, or cut off.
//
// With -v it says how long it took until the answer, and until the first refusal.
func TestRevoke_underLoad(t *testing.T) {
	t.Parallel()
	const rounds, users = 25, 4
	s := startRaced(t, floodConfig)
	_, busy := s.Create("acme", "Warehouse sync", "full_access")
	done := make(chan struct{})
	var load sync.WaitGroup
	var served atomic.Int64
	for range 8 {
		load.Go(func() {
			for client := newUser(s, busy); ; served.Add(1) {
				select {
				case <-done:
					return
				default:
					if one := client.try(); one.err != nil || one.status != http.StatusOK {
						t.Errorf("a request of others: got status %d (%v), want 200", one.status, one.err)
					}
				}
			}
		})
	}
	defer load.Wait()
	defer close(done)

	for _, warm := range []bool{true, false} {
		name := map[bool]string{true: "in memory", false: "being read"}[warm]
		t.Run(name, func(t *testing.T) {
			var answers, refusals []time.Duration
			total := 0
			for round := range rounds {
				answer, refusal, tries := revokeInUse(t, s, fmt.Sprintf("Key %s, round %d", name, round), users, warm)
				answers, refusals, total = append(answers, answer), append(refusals, refusal), total+tries
			}
			t.Logf("%d keys were revoked during %d requests with them, and %d of others; median until the answer %v, until the first refusal %v; the longest %v and %v",
				rounds, total, served.Load(), middle(answers), middle(refusals), slices.Max(answers), slices.Max(refusals))
		})
	}
}

// revokeInUse makes a key, has users use it, and revokes it: before or just as
// they begin. It returns how long the answer took, and the first refusal, from
// when the revocation was asked for.
func revokeInUse(t *testing.T, s *server, name string, users int, warm bool) (answer, refusal time.Duration, total int) {
	t.Helper()
	key, token := s.Create("acme", name, "full_access")
	var (
		begin, revoked = make(chan struct{}), make(chan struct{})
		used           sync.WaitGroup // each user has been accepted once
		over           sync.WaitGroup
		tries          = make([][]try, users)
	)
	used.Add(users)
	for i := range users {
		over.Go(func() {
			user := newUser(s, token)
			defer user.http.CloseIdleConnections()
			<-begin
			tries[i] = append(tries[i], user.try())
			used.Done()
			for after := 0; after < 20; {
				tries[i] = append(tries[i], user.try())
				select {
				case <-revoked:
					after++
				default:
				}
			}
		})
	}
	if warm {
		close(begin)
		used.Wait()
	}
	asked := time.Now()
	if !warm {
		close(begin)
	}
	s.Revoke(key)
	answered := time.Now()
	close(revoked)
	over.Wait()

	first := time.Time{}
	for _, one := range slices.Concat(tries...) {
		total++
		refused := one.status == http.StatusUnauthorized && one.err == nil
		if refused && (first.IsZero() || one.ended.Before(first)) {
			first = one.ended
		}
		switch after := one.begun.Sub(answered); {
		case after > 0 && !refused:
			t.Errorf("%s: got status %d (%v) for a request that began %v after the answer, want 401", name, one.status, one.err, after)
		case one.err != nil && !(one.cut() && one.ended.After(asked)):
			t.Errorf("%s: a request before the answer: %v", name, one.err)
		case one.err == nil && one.status != http.StatusOK && !refused:
			t.Errorf("%s: got status %d, want 200 or 401", name, one.status)
		}
	}
	if first.IsZero() {
		t.Errorf("%s: nothing was refused", name)
	}
	return answered.Sub(asked), first.Sub(asked), total
}

// user is a client with one connection and one key.
type user struct {
	http    *http.Client
	request *http.Request
}

func newUser(s *server, token string) user {
	request, err := http.NewRequest(http.MethodGet, "http://"+s.Plain+contacts, nil)
	if err != nil {
		panic(err) // of an address that was asked for
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return user{&http.Client{Timeout: time.Minute, Transport: new(http.Transport)}, request}
}

func (u user) try() (one try) {
	one.begun = time.Now()
	response, err := u.http.Do(u.request)
	if err == nil {
		one.status = response.StatusCode
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	one.ended, one.err = time.Now(), err
	return one
}

func middle(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2].Round(time.Microsecond)
}
