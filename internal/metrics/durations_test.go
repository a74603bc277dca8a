package metrics

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// TestDurations: whatever is observed, the histogram is the one that the library's own
// would be.
func TestDurations(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	some := func() (all []time.Duration) {
		for range random.IntN(40) {
			all = append(all, time.Duration(math.Exp(random.Float64()*math.Log(10*float64(time.Minute)))))
		}
		return all
	}
	cases := [][]time.Duration{nil, {0}, {-1}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {1953125, 1953124, 1953126}, {15 * time.Minute}}
	for _, bound := range checkBuckets {
		at := time.Duration(math.Round(bound * 1e9))
		cases = append(cases, []time.Duration{at - 1, at, at + 1})
	}
	for range 200 {
		cases = append(cases, some())
	}
	for _, observed := range cases {
		ours := newDurations("took", "How long.", checkBuckets)
		theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "took", Help: "How long.", Buckets: checkBuckets, NativeHistogramBucketFactor: 1.1,
		})
		for _, d := range observed {
			ours.observe(d)
			theirs.Observe(max(d, 0).Seconds())
		}
		got, want := gathered(t, ours), gathered(t, theirs)
		if sum, exact := got.GetSampleSum(), want.GetSampleSum(); math.Abs(sum-exact) > 1e-9*exact {
			t.Errorf("after %v: got a sum of %v, want %v", observed, sum, exact)
		}
		for _, h := range []*dto.Histogram{got, want} {
			h.SampleSum, h.CreatedTimestamp = nil, nil
		}
		if !proto.Equal(got, want) {
			t.Errorf("after %v:\n got %v\nwant %v", observed, got, want)
		}
	}
}

// TestDurations_longest: what takes longer than any bucket counts in the last one.
func TestDurations_longest(t *testing.T) {
	d := newDurations("took", "How long.", checkBuckets)
	d.observe(math.MaxInt64)
	if got := gathered(t, d); got.GetSampleCount() != 1 || got.GetPositiveDelta()[0] != 1 {
		t.Errorf("got %v, want one", got)
	}
}

func gathered(t *testing.T, c prometheus.Collector) *dto.Histogram {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetHistogram()
}
