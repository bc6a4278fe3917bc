package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// picture says what is drawn of the results.
type picture struct {
	name    string // of the file
	title   string
	about   string // under the picture: what is measured, and with what
	x, y    axis   // in a picture of rows, only x
	sources []source
	rows    bool   // a row for each benchmark, instead of lines over numbers
	first   string // series to look for crossings with, "" for none
}

// source is a part of the benchmarks in a picture.
type source struct {
	of     which
	x      string                // the key with the number on the x axis
	series string                // the key of what is compared; in a picture of rows, what it is called
	unit   string                // of the metric
	value  func(float64) float64 // as it is drawn
}

func microseconds(ns float64) float64  { return ns / 1000 }
func perMillisecond(v float64) float64 { return v / 1000 }
func itself(v float64) float64         { return v }

var pictures = []picture{
	{
		name: "one-active", title: "One ready descriptor of many",
		about: "A chain of pipes on the loop: whoever finds his pipe readable reads a byte and writes one into the next pipe, so that one is readable at a time. An event is a wait, a callback, a read and a write.",
		x:     axis{"pipes watched", true}, y: axis{"µs for each event", true},
		sources: []source{{"bench Chain/active=1", "n", "backend", "ns/event", microseconds}},
		first:   "epoll",
	}, {
		name: "hundred-active", title: "A hundred ready descriptors of many",
		about: "The same chain with a hundred bytes on their way, which share a wait.",
		x:     axis{"pipes watched", true}, y: axis{"µs for each event", true},
		sources: []source{{"bench Chain/active=100", "n", "backend", "ns/event", microseconds}},
		first:   "epoll",
	}, {
		name: "peers-chain", title: "The chain on loops of others, 100 active",
		about: "The same chain on iomux's loop, on a loop over epoll written by hand in Go and in C, and on libev, on raw reads and writes.",
		x:     axis{"pipes watched", true}, y: axis{"µs for each event", false},
		sources: []source{
			{"bench/peers Chain/active=100/calls=raw", "n", "loop", "ns/event", microseconds},
			{"bench/peers Chain/active=100/loop=bare-c", "n", "loop", "ns/event", microseconds},
			{"bench/peers Chain/active=100/loop=libev", "n", "loop", "ns/event", microseconds},
		},
	}, {
		name: "echo-throughput", title: "Echo round trips, client and server on a backend each",
		about: "As many requests are sent as replies arrive, over raw sockets on loopback: how many round trips there are in a second.",
		x:     axis{"requests outstanding", true}, y: axis{"thousand round trips a second", false},
		sources: []source{
			{"bench EchoWindow", "window", "backend", "packets/s", perMillisecond},
		},
	}, {
		name: "echo-latency", title: "An echo round trip, one outstanding", rows: true,
		about: "From a request to its reply by the clock. With spin=50us neither server nor client sleeps before nothing has come for that long.",
		x:     axis{"µs for a round trip", false},
		sources: []source{
			{"bench EchoRoundTrip", "", "one process", "ns/event", microseconds},
			{"bench/peers RoundTrip", "", "two processes", "ns/reply", microseconds},
		},
	}, {
		name: "servers", title: "What a reply costs a server", rows: true,
		about: "Processor time of the server for a reply, with 256 requests outstanding from a client in C on another processor.",
		x:     axis{"µs on processors for each reply", false},
		sources: []source{
			{"bench/peers Server/Raw", "", "raw sockets", "cpu-ns/reply", microseconds},
			{"bench/peers Server/TUN", "", "TUN", "cpu-ns/reply", microseconds},
		},
	}, {
		name: "sweep-cpu", title: "Probing many targets once: processor time",
		about: "A request to each target, as fast as they answer, by the prober as a process, from its start to its end; with the kernel's part.",
		x:     axis{"targets", true}, y: axis{"µs on processors for each probe", false},
		sources: []source{{"bench/peers Sweep", "n", "prober", "cpu-ns/probe", microseconds}},
	}, {
		name: "sweep-memory", title: "Probing many targets once: memory",
		about: "The resident size of the same processes at its peak.",
		x:     axis{"targets", true}, y: axis{"MB resident (10⁶ bytes)", true},
		sources: []source{{"bench/peers Sweep", "n", "prober", "MB", itself}},
	}, {
		name: "steady-cpu", title: "Probing 4,096 targets, each once a second", rows: true,
		about:   "The part of a core that it takes, over a veth to a kernel that answers. fping-burst sends all at once and then sleeps.",
		x:       axis{"% of a core", false},
		sources: []source{{"bench/peers Steady/n=4096", "", "4,096 targets", "%core", itself}},
	},
}

// drawing is a picture with what was measured.
type drawing struct {
	title     string
	x, y      axis
	rows      []string // of a picture of rows, from the top
	series    []series
	crossings []crossing
}

type axis struct {
	label string // with the unit
	log   bool
}

type series struct {
	name   string
	points []point
}

// point is a value over a number; in a picture of rows the number is the row's.
type point struct {
	at float64
	quantity
}

// draw returns nil if nothing of it was measured.
func (r *results) draw(p picture) (*drawing, error) {
	d := &drawing{title: p.title, x: p.x, y: p.y}
	of := map[string][]point{}
	var names []string
	for _, s := range p.sources {
		for _, b := range r.find(s.of) {
			q, ok := b.quantity(s.unit)
			name, at := s.series, float64(len(d.rows))
			if !p.rows {
				name = b.get(s.series)
				ok = ok && name != "" && b.get(s.x) != ""
			}
			if !ok {
				continue
			}
			if p.rows {
				d.rows = append(d.rows, called(b))
			} else {
				var err error
				if at, err = strconv.ParseFloat(b.get(s.x), 64); err != nil {
					return nil, fmt.Errorf("%v: %s=%s; want a number, for the picture %s", b, s.x, b.get(s.x), p.name)
				}
			}
			q = q.each(s.value)
			if !p.rows && (p.x.log && !drawable(at) || p.y.log && !(drawable(q.low) && drawable(q.high))) {
				return nil, fmt.Errorf("%v: %v %s at %v; want numbers from 1e-15 to 1e15, for the picture %s, whose axes are logarithmic", b, q, s.unit, at, p.name)
			}
			if of[name] == nil {
				names = append(names, name)
			}
			of[name] = append(of[name], point{at, q})
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	if len(names) > len(styles) {
		return nil, fmt.Errorf("picture %s: %d of %s; at most %d can be told apart", p.name, len(names), strings.Join(names, ", "), len(styles))
	}
	for _, name := range names {
		slices.SortStableFunc(of[name], func(a, b point) int { return cmp.Compare(a.at, b.at) })
		for i, pt := range of[name][1:] {
			if pt.at == of[name][i].at {
				return nil, fmt.Errorf("picture %s: two values of %s at %v; want one", p.name, name, pt.at)
			}
		}
		d.series = append(d.series, series{name, of[name]})
	}
	d.crossings = d.cross(p.first)
	return d, nil
}

// drawable tells whether a logarithmic axis has room for a value.
func drawable(v float64) bool { return v >= 1e-15 && v <= 1e15 }

// called is what a benchmark is called in a row: the keys that tell nothing are left out.
func called(b *benchmark) string {
	var s []string
	for _, p := range b.parts {
		switch p.key {
		case "server", "backend", "prober":
			s = append(s, p.value)
		case "reference":
			s = append(s, "beside "+p.value)
		case "spin":
			if strings.TrimSuffix(p.value, "s") == "0" {
				s = append(s, "no spin")
			} else {
				s = append(s, "spin "+strings.Replace(p.value, "us", "µs", 1))
			}
		}
	}
	return strings.Join(s, ", ")
}
