package main

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

var byBackend = picture{name: "test", x: axis{"pipes", true}, y: axis{"µs", true}, first: "epoll",
	sources: []source{{"bench Chain/active=1", "n", "backend", "ns/event", microseconds}}}

func TestSeriesAreSortedAndInTheirUnits(t *testing.T) {
	d, err := reading(t, `pkg: iomux/bench
BenchmarkChain/n=1000/active=1/backend=poll 1 3000 ns/event
BenchmarkChain/n=10/active=1/backend=poll 1 1000 ns/event
BenchmarkChain/n=10/active=1/backend=poll 1 2000 ns/event
BenchmarkChain/n=10/active=100/backend=poll 1 9 ns/event
BenchmarkChain/n=10/active=1/backend=epoll 1 500 ns/event
BenchmarkChain/n=10/active=1 1 500 ns/event
BenchmarkChain/n=10/active=1/backend=select 1 500 ns/op
`).draw(byBackend)
	if err != nil {
		t.Fatal(err)
	}
	want := []series{
		{"poll", []point{{10, quantity{2, 1, 2, 2, true}}, {1000, quantity{3, 3, 3, 1, false}}}},
		{"epoll", []point{{10, quantity{0.5, 0.5, 0.5, 1, false}}}},
	}
	if !reflect.DeepEqual(d.series, want) {
		t.Errorf("series\n%v; want\n%v", d.series, want)
	}
}

func TestRowsAreInTheOrderOfTheResults(t *testing.T) {
	d, err := reading(t, `pkg: p
BenchmarkS/Raw/server=echo/reference=lesson 1 3000 ns
BenchmarkS/Raw/server=lesson/spin=0s 1 4000 ns
BenchmarkT/server=echo/spin=50us 1 1000 ns
`).draw(picture{name: "test", rows: true, sources: []source{{"p S", "", "raw", "ns", microseconds}, {"p T", "", "tun", "ns", microseconds}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"echo, beside lesson", "lesson, no spin", "echo, spin 50µs"}; !reflect.DeepEqual(d.rows, want) {
		t.Errorf("rows %q; want %q", d.rows, want)
	}
	if len(d.series) != 2 || d.series[0].points[1].at != 1 || d.series[1].points[0].at != 2 || d.series[1].points[0].median != 1 {
		t.Errorf("series %v", d.series)
	}
}

func TestNothingMeasuredIsNoPicture(t *testing.T) {
	if d, err := reading(t, "pkg: p\nBenchmarkA 1 1 ns/op\n").draw(byBackend); d != nil || err != nil {
		t.Errorf("%v, %v; want nil, nil", d, err)
	}
}

func TestWhatCannotBeDrawnIsAnError(t *testing.T) {
	line := "pkg: iomux/bench\nBenchmarkChain/n=%s/active=1/backend=epoll%s 1 %s ns/event\n"
	var many strings.Builder
	for i := range len(styles) + 1 {
		fmt.Fprintf(&many, line, "1", fmt.Sprint(i), "5")
	}
	for text, want := range map[string]string{
		fmt.Sprintf(line, "ten", "", "5"):                                     "n=ten; want a number",
		fmt.Sprintf(line, "0", "", "5"):                                       "at 0; want numbers from",
		fmt.Sprintf(line, "NaN", "", "5"):                                     "at NaN; want numbers from",
		fmt.Sprintf(line, "1", "", "0"):                                       "0 ns/event at 1; want numbers from",
		fmt.Sprintf(line, "1", "", "1e300"):                                   "want numbers from",
		fmt.Sprintf(line, "1", "-2", "5") + fmt.Sprintf(line, "1", "-4", "5"): "two values of epoll at 1",
		many.String(): "can be told apart",
	} {
		if d, err := reading(t, text).draw(byBackend); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "test") {
			t.Errorf("%.60q: %v, %v; want %q", text, d, err, want)
		}
	}
}

// line is a series through these medians.
func line(name string, xy ...float64) (s series) {
	s.name = name
	for i := 0; i < len(xy); i += 2 {
		s.points = append(s.points, point{xy[i], quantity{xy[i+1], xy[i+1], xy[i+1], 1, false}})
	}
	return s
}

func TestCrossings(t *testing.T) {
	epoll := line("epoll", 1, 10, 100, 10, 10000, 10)
	for name, c := range map[string]struct {
		other series
		want  []crossing
	}{
		"half way of a decade each": {line("poll", 1, 1, 100, 100), []crossing{{10, 10, "poll", "epoll"}}},
		"downwards":                 {line("poll", 1, 100, 100, 1), []crossing{{10, 10, "epoll", "poll"}}},
		"to and fro":                {line("poll", 1, 1, 100, 100, 10000, 1), []crossing{{10, 10, "poll", "epoll"}, {1000, 10, "epoll", "poll"}}},
		"above all the way":         {line("poll", 1, 11, 100, 100), nil},
		"at other numbers":          {line("poll", 2, 1, 200, 100), nil},
		"over a gap":                {line("poll", 1, 1, 10000, 100), []crossing{{100, 10, "poll", "epoll"}}},
	} {
		d := &drawing{series: []series{epoll, c.other}}
		got := d.cross("epoll")
		if len(got) != len(c.want) {
			t.Errorf("%s: %v; want %v", name, got, c.want)
			continue
		}
		for i, g := range got {
			w := c.want[i]
			if math.Abs(g.at/w.at-1) > 1e-9 || math.Abs(g.value/w.value-1) > 1e-9 || g.before != w.before || g.after != w.after {
				t.Errorf("%s: %+v; want %+v", name, g, w)
			}
		}
	}
	d := &drawing{series: []series{line("poll", 1, 1, 100, 100), epoll, line("select", 1, 20)}}
	d.crossings = d.cross("epoll")
	if got, want := d.told("epoll"), "poll takes less time up to about 10, epoll from there on; epoll and select do not cross here."; got != want {
		t.Errorf("told %q; want %q", got, want)
	}
	d = &drawing{series: []series{line("poll", 100, 1, 1000, 12), line("epoll", 100, 3, 1000, 3)}}
	d.crossings = d.cross("epoll")
	if got, want := d.told("epoll"), "poll takes less time up to about 280, epoll from there on."; got != want {
		t.Errorf("told %q; want %q", got, want)
	}
	if got := d.cross(""); got != nil {
		t.Errorf("crossings of no series: %v", got)
	}
}
