package main

import (
	"reflect"
	"testing"
)

func TestRunsAgreeWithinTheirSpread(t *testing.T) {
	this := reading(t, `pkg: p
BenchmarkA 1 10 ns 9 ns-p10 12 ns-p90
BenchmarkB 1 10 ns 9 ns-p10 12 ns-p90
BenchmarkC 1 10 ns 9 ns-p10 12 ns-p90
BenchmarkD 1 10 ns 9 ns-p10 12 ns-p90
BenchmarkE 1 10 ns
`)
	other := reading(t, `pkg: p
BenchmarkA 1 12 ns
BenchmarkB 1 13 ns 10 ns-p10 14 ns-p90
BenchmarkC 1 13 ns 12 ns-p10 14 ns-p90
BenchmarkE 1 20 ns
`)
	got := compare(this, other)
	want := &comparison{"2 figures agree within their spread, 1 do not, 1 are not in the other run",
		[]disagreement{{"p C", "ns", "10 (9–12)", "13 (12–14)"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v; want %+v", got, want)
	}
}
