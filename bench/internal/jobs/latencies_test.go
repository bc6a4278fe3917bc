package jobs

import (
	"slices"
	"testing"
	"time"
)

// percentiles are what is reported of so many round trips, of 1 ns, 2 ns and so on,
// the longest first.
func percentiles(of ...int) map[string]float64 {
	var l Latencies
	for _, n := range of {
		var round []time.Duration
		for ns := range n {
			round = append(round, time.Duration(ns+1))
		}
		slices.Reverse(round)
		l.Add(round)
	}
	metrics := map[string]float64{}
	l.Report(func(value float64, unit string) { metrics[unit] = value })
	return metrics
}

func TestPercentiles(t *testing.T) {
	expectMetrics(t, percentiles(), map[string]float64{})
	expectMetrics(t, percentiles(1), map[string]float64{"p50-ns": 1, "p90-ns": 1, "p99-ns": 1, "p999-ns": 1})
	expectMetrics(t, percentiles(1001), map[string]float64{"p50-ns": 501, "p90-ns": 901, "p99-ns": 991, "p999-ns": 1000})
	expectMetrics(t, percentiles(1000, 1000), map[string]float64{"p50-ns": 501, "p90-ns": 900, "p99-ns": 990, "p999-ns": 999})
}

// What is remembered is bounded, and is what came first.
func TestLatenciesAreBounded(t *testing.T) {
	var l Latencies
	round := make([]time.Duration, remembered-1)
	l.Add(round)
	l.Add([]time.Duration{1, 2, 3})
	l.Add([]time.Duration{4})
	if len(l) != remembered || l[remembered-1] != 1 {
		t.Errorf("%d are remembered, the last of %v; want %d, 1ns", len(l), l[len(l)-1], remembered)
	}
}

// What was added before stays as it is when the next round is played in the same memory.
func TestLatenciesAreCopied(t *testing.T) {
	var l Latencies
	round := []time.Duration{1}
	l.Add(round)
	round[0] = 2
	l.Add(round)
	if !slices.Equal(l, Latencies{1, 2}) {
		t.Errorf("%v; want 1 ns, 2 ns", l)
	}
}
