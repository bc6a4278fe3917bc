package main

import "testing"

func measured(unit string, lines ...float64) *benchmark {
	return &benchmark{values: map[string][]float64{unit: lines}}
}

func TestMedianAndSpreadOfLines(t *testing.T) {
	q, ok := measured("ns", 9, 1, 2, 3, 4, 5, 6, 7, 8, 0, 10).quantity("ns")
	if want := (quantity{5, 1, 9, 11, true}); !ok || q != want {
		t.Errorf("%+v, %v; want %+v", q, ok, want)
	}
	if q, _ := measured("ns", 7).quantity("ns"); q != (quantity{7, 7, 7, 1, false}) || q.String() != "7" {
		t.Errorf("%+v, %v of one line; want no spread", q, q)
	}
	if q, _ := measured("ns", 7, 7).quantity("ns"); q.String() != "7" {
		t.Errorf("%v of two lines that agree; want 7", q)
	}
	if _, ok := measured("ns", 7).quantity("MB"); ok {
		t.Error("there is a quantity of what was not measured")
	}
}

func TestTheSpreadThatABenchmarkTellsCounts(t *testing.T) {
	b := measured("x", 1, 1.1, 1.2)
	b.values["x-p10"], b.values["x-p90"] = []float64{0.5, 0.6, 0.7}, []float64{2, 2.5, 3}
	q, _ := b.quantity("x")
	if want := (quantity{1.1, 0.6, 2.5, 3, true}); q != want || q.String() != "1.1 (0.6–2.5)" {
		t.Errorf("%+v, %v; want %+v", q, q, want)
	}
	for unit, want := range map[string]bool{"x-libev-p10": true, "x-libev-p90": true, "x-libev": false, "p90/op": false} {
		if isSpread(unit) != want {
			t.Errorf("isSpread(%s) = %v", unit, !want)
		}
	}
}

func TestARateTurnsTheSpreadAround(t *testing.T) {
	q := quantity{4, 2, 8, 3, true}.each(func(v float64) float64 { return 8 / v })
	if want := (quantity{2, 1, 4, 3, true}); q != want {
		t.Errorf("%+v; want %+v", q, want)
	}
}

// The medians, 10 and 100, are of different lines.
func TestPairsAreOfLinesInTheSamePlace(t *testing.T) {
	q, ok := pairwise(measured("ns", 10, 3, 40), measured("ns", 100, 10, 200, 1), "ns", goal{how: ratio}.combine)
	if want := (quantity{0.2, 0.1, 0.3, 3, true}); !ok || q != want {
		t.Errorf("%+v, %v; want %+v", q, ok, want)
	}
	if q, ok := pairwise(measured("ns", 5), measured("ns", 0), "ns", goal{how: ratio}.combine); ok {
		t.Errorf("5 by 0 is %v", q)
	}
	if q, ok := pairwise(measured("ns", 5), measured("ns"), "ns", goal{how: ratio}.combine); ok {
		t.Errorf("5 by nothing is %v", q)
	}
}

func TestNumbersHaveThreeDigitsOrMore(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0123456: "0.0123", 0.952: "0.952", 1: "1", 1.2345: "1.23", 99.96: "100",
		123.4: "123", 1234.5: "1,234", 1234567: "1,234,567", -2.5: "-2.5", -1234: "-1,234", 999: "999", 1e5: "100,000"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %s; want %s", v, got, want)
		}
	}
	for s, want := range map[string]string{"0.9524": "0.9524", "1000.25": "1,000.25", "-999": "-999"} {
		if got := grouped(s); got != want {
			t.Errorf("grouped(%s) = %s; want %s", s, got, want)
		}
	}
}
