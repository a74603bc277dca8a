package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// measure loads the rivals in turn, each in a pair with the reference, so that noise
// affects both. They run on the given cores. It also measures response times, if it is to.
func (o options) measure(ctx context.Context, s *site, rivals []*rival, cores string, paced bool) error {
	defer stop(rivals)
	if err := s.startAll(ctx, rivals, cores); err != nil {
		return err
	}
	for _, r := range rivals {
		r.client, r.rounds, r.reference = newClient(o.connections), nil, nil
		if err := warm(r, s.headers, o.connections); err != nil {
			return err
		}
	}
	for n := range o.rounds {
		for i := range rivals {
			if err := o.measureOne(ctx, s, rivals[(i+n)%len(rivals)], rivals[0]); err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stderr, "\rround %d of %d", n+1, o.rounds)
	}
	fmt.Fprintln(os.Stderr)
	if !paced {
		return nil
	}
	return o.pace(ctx, s, rivals)
}

// measureOne runs a round of a rival next to a round of its reference. Their order
// alternates, because the second one may find the machine warmer.
func (o options) measureOne(ctx context.Context, s *site, r, reference *rival) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	pair := []*rival{reference, r}
	second := len(r.rounds)%2 == 1
	if second {
		slices.Reverse(pair)
	}
	var rounds []round
	for _, one := range pair {
		measured, err := loaded(one, s.headers, o.connections, 0, o.round)
		if err != nil {
			return err
		}
		rounds = append(rounds, measured)
	}
	if second {
		slices.Reverse(rounds)
	}
	r.reference, r.rounds = append(r.reference, rounds[0]), append(r.rounds, rounds[1])
	return nil
}

// pace measures response times while requests arrive at a fixed rate, whether or not
// earlier ones have been answered.
func (o options) pace(ctx context.Context, s *site, rivals []*rival) error {
	rounds := max(o.rounds/8, 1)
	for n := range rounds {
		for _, r := range rivals {
			if err := ctx.Err(); err != nil {
				return err
			}
			paced, err := loaded(r, s.headers, o.connections, o.rate, 2*time.Second)
			if err != nil {
				return err
			}
			r.paced = append(r.paced, paced)
		}
		fmt.Fprintf(os.Stderr, "\rat a fixed rate: round %d of %d", n+1, rounds)
	}
	fmt.Fprintln(os.Stderr)
	return nil
}
