package main

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

var byBackend = picture{name: "test", x: axis{"pipes", true}, y: axis{"µs", true}, first: "epoll",
	sources: []source{{"bench Chain/active=1", "ns/event", microseconds, "n", "", "backend"}}}

func TestSeriesAreSortedAndInTheirUnits(t *testing.T) {
	d := reading(t, `pkg: iomux/bench
BenchmarkChain/n=1000/active=1/backend=poll 1 3000 ns/event
BenchmarkChain/n=10/active=1/backend=poll 1 1000 ns/event
BenchmarkChain/n=10/active=1/backend=poll 1 2000 ns/event
BenchmarkChain/n=10/active=100/backend=poll 1 9 ns/event
BenchmarkChain/n=10/active=1/backend=epoll 1 500 ns/event
BenchmarkChain/n=10/active=1 1 500 ns/event
BenchmarkChain/n=10/active=1/backend=select 1 500 ns/op
`).draw(byBackend)
	want := []series{
		{"poll", []point{{10, quantity{1.5, 1, 2, 2, true}}, {1000, quantity{3, 3, 3, 1, false}}}},
		{"epoll", []point{{10, quantity{0.5, 0.5, 0.5, 1, false}}}},
	}
	if !reflect.DeepEqual(d.series, want) {
		t.Errorf("series\n%v; want\n%v", d.series, want)
	}
}

func TestRowsAreInTheOrderOfTheResults(t *testing.T) {
	d := reading(t, `pkg: p
BenchmarkS/Raw/server=echo/reference=lesson 1 3000 ns
BenchmarkS/Raw/server=lesson/spin=0s 1 4000 ns
BenchmarkT/server=echo/spin=50us/k=1 1 1000 ns 0.9 %lost
BenchmarkT/server=gnet 1 1000 ns 73.6 %lost
`).draw(picture{name: "test", rows: true, sources: []source{{"p S/Raw", "ns", microseconds, "", "", "raw"}, {"p T", "ns", microseconds, "", "", "tun"}}})
	if want := []string{"echo, beside lesson", "lesson, no spin", "echo, spin 50µs, k=1", "gnet, 74 % lost"}; !reflect.DeepEqual(d.places, want) {
		t.Errorf("rows %q; want %q", d.places, want)
	}
	if len(d.series) != 2 || d.series[0].points[1].at != 1 || d.series[1].points[0].at != 2 || d.series[1].points[0].median != 1 {
		t.Errorf("series %v", d.series)
	}
}

// A row has the values of several series, and a series has none where nothing was measured.
func TestSeriesMeetInARow(t *testing.T) {
	d := reading(t, `pkg: p
BenchmarkT/job=arm/loop=iomux 1 3 ns
BenchmarkT/job=arm/loop=libev 1 4 ns
BenchmarkT/job=fire/loop=libev 1 5 ns
BenchmarkT/job=stop 1 6 ns
`).draw(picture{name: "test", rows: true, sources: []source{{"p T", "ns", itself, "", "", "loop"}}})
	want := []series{line("iomux", 0, 3), line("libev", 0, 4, 1, 5)}
	if !reflect.DeepEqual(d.places, []string{"arm", "fire"}) || !reflect.DeepEqual(d.series, want) {
		t.Errorf("rows %q, series %v; want arm, fire and %v", d.places, d.series, want)
	}
}

func TestPercentilesAreOverTheirNames(t *testing.T) {
	d := reading(t, `pkg: p
BenchmarkE/spin=0s/backend=epoll 1 3000 p50-ns 4000 p90-ns 5000 p99-ns 9000 p999-ns 3500 ns/event
BenchmarkE/spin=50µs/backend=epoll 1 1000 p50-ns 2000 p99-ns
`).draw(picture{name: "test", sources: percentiles("p E", "")})
	want := []series{line("no spin, epoll", 0, 3, 1, 4, 2, 5, 3, 9), line("spin 50µs, epoll", 0, 1, 2, 2)}
	if !reflect.DeepEqual(d.places, []string{"median", "90th", "99th", "99.9th"}) || !reflect.DeepEqual(d.series, want) {
		t.Errorf("places %q, series %v; want %v", d.places, d.series, want)
	}
}

func TestNothingMeasuredIsNoPicture(t *testing.T) {
	if d := reading(t, "pkg: p\nBenchmarkA 1 1 ns/op\n").draw(byBackend); d != nil {
		t.Errorf("%v; want nil", d)
	}
}

func TestWhatCannotBeDrawnIsLeftOutAndNamed(t *testing.T) {
	one := "pkg: iomux/bench\nBenchmarkChain/n=%s/active=1/backend=epoll%s 1 %s ns/event\n"
	var many strings.Builder
	for i := range len(styles) + 2 {
		fmt.Fprintf(&many, one, "1", fmt.Sprintf("%c", 'a'+i), "5")
	}
	good := fmt.Sprintf(one, "10", "", "5")
	for text, want := range map[string]struct {
		left   []string
		series int
	}{
		good + fmt.Sprintf(one, "ten", "", "5"):                                    {[]string{"n=ten does not fit"}, 1},
		good + fmt.Sprintf(one, "0", "", "5"):                                      {[]string{"n=0 does not fit"}, 1},
		good + fmt.Sprintf(one, "NaN", "", "5"):                                    {[]string{"n=NaN does not fit"}, 1},
		good + fmt.Sprintf(one, "1", "", "0"):                                      {[]string{"0 ns/event does not fit"}, 1},
		good + fmt.Sprintf(one, "1", "", "1e300"):                                  {[]string{"1e+297 ns/event does not fit"}, 1},
		fmt.Sprintf(one, "1", "", "1e300"):                                         {[]string{"does not fit"}, 0},
		good + fmt.Sprintf(one, "1", "-2", "5") + fmt.Sprintf(one, "1", "-4", "5"): {[]string{"another value in its place"}, 1},
		many.String(): {[]string{"backend=m: more than 12 cannot be told apart", "backend=n"}, 12},
	} {
		d := reading(t, strings.ReplaceAll(text, "backend=epoll", map[bool]string{true: "backend=", false: "backend=epoll"}[text == many.String()])).draw(byBackend)
		if len(d.left) != len(want.left) || len(d.series) != want.series {
			t.Errorf("%.60q: left out %q, %d series; want %q and %d", text, d.left, len(d.series), want.left, want.series)
			continue
		}
		for i, w := range want.left {
			if !strings.Contains(d.left[i], w) {
				t.Errorf("%.60q: left out %q; want %q", text, d.left[i], w)
			}
		}
		if d.series != nil {
			written(t, d) // it can be painted
		}
	}
}

func TestMoreRowsThanThereIsRoomForAreNamed(t *testing.T) {
	var text strings.Builder
	for i := range mostPlaces + 2 {
		fmt.Fprintf(&text, "BenchmarkS/k=%d 1 5 ns\n", i)
	}
	d := reading(t, "pkg: p\n"+text.String()).draw(picture{name: "test", rows: true, sources: []source{{"p S", "ns", itself, "", "", "all"}}})
	if len(d.places) != mostPlaces || len(d.left) != 2 || !strings.Contains(d.left[1], "no room for more than 30") {
		t.Errorf("%d rows, left out %q", len(d.places), d.left)
	}
}

func TestNamesFitIntoAPicture(t *testing.T) {
	for name, want := range map[string]string{"epoll": "epoll", "a\x00b\x1b": "a\uFFFDb\uFFFD", "\xff": "\uFFFD", strings.Repeat("µ", 30): strings.Repeat("µ", 30),
		strings.Repeat("µ", 31): strings.Repeat("µ", 29) + "…"} {
		if got := shown(name); got != want {
			t.Errorf("%q is shown as %q; want %q", name, got, want)
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
