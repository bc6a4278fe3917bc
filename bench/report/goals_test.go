package main

import (
	"reflect"
	"testing"
)

const judged = `pkg: p
BenchmarkA/k=1 1 90 ns/op 0 allocs/op
BenchmarkA/k=2 1 120 ns/op 2 allocs/op
BenchmarkA/k=3 1 60 ns/op 1 allocs/op
BenchmarkR 1 1.05 x-peer 0.9 x-peer-p10 1.3 x-peer-p90
`

func TestVerdicts(t *testing.T) {
	r := reading(t, judged)
	for name, c := range map[string]struct {
		goal goal
		want []row
	}{
		"each": {goal{"S", "w", "p A", "ns/op", each, "", 100}, []row{
			{"S", "w", "p A/k=1", "90 ns/op", "at most 100 ns/op", met},
			{"S", "w", "p A/k=2", "120 ns/op", "at most 100 ns/op", fallsShort},
			{"S", "w", "p A/k=3", "60 ns/op", "at most 100 ns/op", met}}},
		"worst": {goal{"S", "w", "p A", "allocs/op", worst, "", 0}, []row{
			{"S", "w", "p A/k=2, the most of 3", "2 allocs/op", "at most 0 allocs/op", fallsShort}}},
		"the limit itself": {goal{"S", "w", "p A/k=1", "ns/op", each, "", 90}, []row{
			{"S", "w", "p A/k=1", "90 ns/op", "at most 90 ns/op", met}}},
		"ratio": {goal{"S", "w", "p A/k=2", "ns/op", ratio, "k=3", 1.9}, []row{
			{"S", "w", "p A/k=2", "2×", "at most 1.9×", fallsShort}}},
		"difference": {goal{"S", "w", "p A/k=3", "ns/op", difference, "k=1", 1000}, []row{
			{"S", "w", "p A/k=3", "-30 ns/op", "at most 1,000 ns/op", met}}},
		"a rate, by the median": {goal{"S", "w", "p R", "x-peer", each, "", 1 / 0.93}, []row{
			{"S", "w", "p R", "1.05 (0.9–1.3)×", "at most 1.075×", met}}},
		"another unit":   {goal{"S", "w", "p A", "MB", each, "", 1}, []row{{"S", "w", "p A", "", "at most 1 MB", notMeasured}}},
		"nothing beside": {goal{"S", "w", "p A/k=1", "ns/op", ratio, "k=9", 1}, []row{{"S", "w", "p A/k=1", "", "at most 1×", notMeasured}}},
		"nothing":        {goal{"S", "w", "p B", "ns/op", each, "", 1}, []row{{"S", "w", "p B", "", "at most 1 ns/op", notMeasured}}},
	} {
		if got := r.judge(c.goal); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n%v; want\n%v", name, got, c.want)
		}
	}
}

// What is written into the table by hand can be written wrongly.
func TestGoalsAreWhole(t *testing.T) {
	for _, g := range goals {
		if beside := g.how == ratio || g.how == difference; g.about == "" || g.what == "" || g.unit == "" || beside != (g.beside != "") {
			t.Errorf("%+v", g)
		}
	}
}

// The names are those of real lines: a benchmark that is called otherwise would be one
// that was not measured.
func TestEveryGoalIsMeasured(t *testing.T) {
	r, err := readAll([]string{"testdata/results.txt"})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range goals {
		const takesTooLong = "bench/peers Sweep/n=16777215/prober=echo"
		if rows := r.judge(g); (rows[0].Verdict == notMeasured) != (g.of == takesTooLong) {
			t.Errorf("%s: %v", g.of, rows[0])
		}
	}
}
