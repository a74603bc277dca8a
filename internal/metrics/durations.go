package metrics

import (
	"math"
	"math/bits"
	"sort"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// durations is a histogram of durations, in Prometheus's native form and in its classic
// one. It shows what prometheus.Histogram would, whose Observe looks through several
// tables, and touches many more cache lines than this: one of counts, and a few that
// requests only read.
type durations struct {
	desc  *prometheus.Desc
	since time.Time
	sum   atomic.Int64 // in nanoseconds
	cells []atomic.Uint64
	layout
}

// The native buckets: each power of two is split into steps of a tenth. They go from
// a nanosecond to a quarter of an hour; what takes longer counts as that.
const (
	nativeSchema  = 3
	nativeSteps   = 1 << nativeSchema
	firstNative   = -30 * nativeSteps
	lastNative    = 10 * nativeSteps
	zeroThreshold = prometheus.DefNativeHistogramZeroThreshold
)

// layout says which cell counts which durations. A cell lies in one native and one classic
// bucket.
type layout struct {
	upTo    []int64 // the longest duration of each cell, in nanoseconds, ascending
	native  []int   // its native bucket
	classic []float64
	// search has, for each bit length of a duration and its next two bits, the first cell
	// in which it can be.
	search [65 * 4]uint16
}

// newDurations returns an empty histogram with classic buckets up to the given bounds, in
// seconds, ascending.
func newDurations(name, help string, classic []float64) *durations {
	l := newLayout(classic)
	return &durations{
		desc: prometheus.NewDesc(name, help, nil, nil), since: time.Now(),
		cells: make([]atomic.Uint64, len(l.upTo)), layout: l,
	}
}

func newLayout(classic []float64) layout {
	l := layout{classic: classic}
	bounds := append([]float64{0}, classic...)
	for key := firstNative; key <= lastNative; key++ {
		bounds = append(bounds, nativeBound(key))
	}
	sort.Float64s(bounds)
	for _, bound := range bounds {
		upTo := nanoseconds(bound)
		if n := len(l.upTo); n > 0 && l.upTo[n-1] == upTo {
			continue
		}
		l.upTo = append(l.upTo, upTo)
		l.native = append(l.native, nativeBucket(upTo))
	}
	for slot := range l.search {
		shortest := shortestOf(slot)
		l.search[slot] = uint16(min(sort.Search(len(l.upTo), func(i int) bool { return l.upTo[i] >= shortest }), len(l.upTo)-1))
	}
	return l
}

// nativeBound returns the upper bound of a native bucket, in seconds.
func nativeBound(key int) float64 { return math.Exp2(float64(key) / nativeSteps) }

// nanoseconds returns the longest duration within a bound, which is in seconds.
func nanoseconds(bound float64) int64 {
	n := int64(math.Round(bound * 1e9))
	if time.Duration(n).Seconds() > bound {
		n--
	}
	return n
}

// nativeBucket returns the native bucket of a duration.
func nativeBucket(ns int64) int {
	return firstNative + sort.Search(lastNative-firstNative, func(i int) bool {
		return time.Duration(ns).Seconds() <= nativeBound(firstNative+i)
	})
}

// slotOf returns where in search a duration is.
func slotOf(ns int64) int {
	length := bits.Len64(uint64(ns))
	return length<<2 | int(uint64(ns)<<(64-length)>>61&3)
}

// shortestOf returns the shortest duration in a slot of search.
func shortestOf(slot int) int64 {
	length := slot >> 2
	if length == 0 || length > 63 {
		return 0
	}
	return int64((4 | uint64(slot&3)) << 61 >> (64 - length))
}

// observe counts a duration.
func (d *durations) observe(took time.Duration) {
	ns := max(int64(took), 0)
	cell, last := int(d.search[slotOf(ns)]), len(d.upTo)-1
	for cell < last && ns > d.upTo[cell] {
		cell++
	}
	d.cells[cell].Add(1)
	d.sum.Add(ns)
}

// Describe implements prometheus.Collector.
func (d *durations) Describe(descs chan<- *prometheus.Desc) { descs <- d.desc }

// Collect implements prometheus.Collector.
func (d *durations) Collect(metrics chan<- prometheus.Metric) {
	sum := time.Duration(d.sum.Load()).Seconds()
	var count, zeros uint64
	natives, below := make(map[int]int64), make([]uint64, len(d.classic))
	for i := range d.cells {
		n := d.cells[i].Load()
		if n == 0 {
			continue
		}
		count += n
		if d.upTo[i] == 0 {
			zeros = n
		} else {
			natives[d.native[i]] += int64(n)
		}
		for j, bound := range d.classic {
			if time.Duration(d.upTo[i]).Seconds() <= bound {
				below[j] += n
			}
		}
	}
	metrics <- bothForms{
		prometheus.MustNewConstNativeHistogram(d.desc, count, sum, natives, nil, zeros, nativeSchema, zeroThreshold, d.since),
		d.classic, below,
	}
}

// bothForms adds classic buckets to a native histogram.
type bothForms struct {
	prometheus.Metric
	bounds []float64
	counts []uint64 // of what is within each bound
}

// Write implements prometheus.Metric.
func (b bothForms) Write(out *dto.Metric) error {
	if err := b.Metric.Write(out); err != nil {
		return err
	}
	for i := range b.bounds {
		out.GetHistogram().Bucket = append(out.GetHistogram().Bucket, &dto.Bucket{UpperBound: &b.bounds[i], CumulativeCount: &b.counts[i]})
	}
	return nil
}
