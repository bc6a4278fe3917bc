package main

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// quantity is a measured value with its spread.
type quantity struct {
	median, low, high float64 // 10th, 50th and 90th percentile
	lines             int     // that it is the median of
	spread            bool    // whether low and high were measured
}

const endLow, endHigh = "-p10", "-p90"

// isSpread tells a metric that is the spread of another.
func isSpread(unit string) bool {
	return strings.HasSuffix(unit, endLow) || strings.HasSuffix(unit, endHigh)
}

// quantity returns what was measured in a unit, if it was.
func (b *benchmark) quantity(unit string) (q quantity, ok bool) {
	values := b.values[unit]
	if len(values) == 0 {
		return q, false
	}
	q = quantity{median: median(values), low: quantile(values, 0.1), high: quantile(values, 0.9),
		lines: len(values), spread: len(values) > 1}
	if low, high := b.values[unit+endLow], b.values[unit+endHigh]; len(low) > 0 && len(high) > 0 {
		q.low, q.high, q.spread = median(low), median(high), true
	}
	q.low, q.high = min(q.low, q.median), max(q.high, q.median)
	return q, true
}

// has tells whether a value is within the spread.
func (q quantity) has(v float64) bool { return q.low <= v && v <= q.high }

// median is the one in the middle, or the mean of the two there, as in the benchmarks.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// quantile is the nearest rank, as in the benchmarks.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// each applies a function that grows, or falls, to the values.
func (q quantity) each(f func(float64) float64) quantity {
	q.median, q.low, q.high = f(q.median), f(q.low), f(q.high)
	q.low, q.high = min(q.low, q.high), max(q.low, q.high)
	return q
}

// pairwise combines the lines of two benchmarks, each with the one in the same place of
// the other's, in which both were measured with as many others before them.
func pairwise(a, b *benchmark, unit string, f func(a, b float64) float64) (quantity, bool) {
	as, bs := a.values[unit], b.values[unit]
	n := min(len(as), len(bs))
	if n == 0 {
		return quantity{}, false
	}
	var values []float64
	for i := range n {
		v := f(as[i], bs[i])
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return quantity{}, false
		}
		values = append(values, v)
	}
	return (&benchmark{values: map[string][]float64{unit: values}}).quantity(unit)
}

func (q quantity) String() string {
	if !q.spread || q.low == q.high {
		return number(q.median)
	}
	return number(q.median) + " (" + number(q.low) + "–" + number(q.high) + ")"
}

// number has three digits that count, or all of those before the point.
func number(v float64) string {
	if math.Abs(v) < 100 || math.Abs(v) >= 1e15 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return grouped(strconv.FormatFloat(v, 'f', 0, 64))
}

// grouped separates thousands.
func grouped(number string) string {
	digits, fraction, point := strings.Cut(number, ".")
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if point {
		return digits + "." + fraction
	}
	return digits
}
