package main

import (
	"fmt"
	"math"
	"strconv"
)

// goal is what a figure has to be, if it was measured.
type goal struct {
	about  string // the section of the table
	what   string
	of     which
	unit   string
	how    how
	beside string // a setting, where the figure is one of two benchmarks
	most   float64
}

// how a figure comes from the benchmarks that a goal is for.
type how int

const (
	each       how = iota // a row for each
	worst                 // a row for all: the largest
	ratio                 // a row for each: its value by that of the benchmark that has the other setting
	difference            // the same, minus that
)

// ofRun is for benchmarks that call Run for some hundreds of events, which allocates a
// few times: what every twentieth event allocated would show.
const ofRun = 0.05

// goals are those that the packages set themselves. Where a goal is for a rate, the
// figure is the inverse, a ratio of times.
var goals = []goal{
	{"The loop", "Beside a bare epoll loop in Go", "bench Overhead/calls=raw/n=1000/active=100", "x-bare", each, "", 1.02},
	{"The loop", "Beside libev, 1,000 pipes, 100 active", "bench/peers Chain/n=1000/active=100/loop=iomux/calls=raw", "x-libev", each, "", 1.05},
	{"The loop", "Beside libev, 100 pipes, 1 active", "bench/peers Chain/n=100/active=1/loop=iomux/calls=raw", "x-libev", each, "", 0.95},
	{"The loop", "9,900 pipes instead of 100, 100 active", "bench Chain/n=9900/active=100/backend=epoll", "ns/event", ratio, "n=100", 1.5},
	{"The loop", "A time limit on a wait, beside none", "bench Wait/limit=1s", "ns/op", ratio, "limit=none", 1.3},
	{"The loop", "Spin of 50 µs, a byte there and back", "bench PingPong/spin=50µs", "ns/op", ratio, "spin=0s", 1 / 4.0},
	{"Allocations", "Modify", "bench AddModifyRemove/op=modify", "allocs/event", worst, "", 0},
	{"Allocations", "Oneshot and its re-arming", "bench Oneshot", "allocs/event", worst, "", 0},
	{"Allocations", "A wait that finds nothing", "bench Idle", "allocs/event", worst, "", 0},
	{"Allocations", "Wake", "bench Wake", "allocs/event", worst, "", 0},
	{"Allocations", "An event of the chain, with its share of what Run allocates", "bench Chain", "allocs/event", worst, "", ofRun},
	{"Allocations", "An echo round trip, with its share of what Run allocates", "bench EchoRoundTrip", "allocs/event", worst, "", ofRun},
	{"Allocations", "An echo in a window, with its share of what Run allocates", "bench EchoWindow", "allocs/event", worst, "", ofRun},
	{"Timers", "Arm", "bench Timers", "ns/add", each, "", 1000},
	{"Timers", "Fire", "bench Timers", "ns/fire", each, "", 1000},
	{"Timers", "Stop", "bench Timers", "ns/stop", each, "", 1000},
	{"Timers", "Arm, beside libev", "bench/peers Timers/job=arm/loop=iomux", "x-libev", each, "", 1},
	{"Timers", "Fire, beside libev", "bench/peers Timers/job=fire/loop=iomux", "x-libev", each, "", 1},
	{"Timers", "Stop, beside libev", "bench/peers Timers/job=stop/loop=iomux", "x-libev", each, "", 1},
	{"The client", "65,534 targets at 1.3 times fping's rate", "bench/peers Sweep/n=65534/prober=echo", "x-fping", each, "", 1 / 1.3},
	{"The client", "65,534 targets, processor time beside fping's", "bench/peers Sweep/n=65534/prober=echo", "x-fping-cpu", each, "", 1},
	{"The client", "262,144 targets at 0.9 of the rate of C", "bench/peers Sweep/n=262144/prober=echo", "x-bare-c", each, "", 1 / 0.9},
	{"The client", "1,048,576 targets at 0.9 of the rate of C", "bench/peers Sweep/n=1048576/prober=echo", "x-bare-c", each, "", 1 / 0.9},
	{"The client", "1,048,576 targets, memory", "bench/peers Sweep/n=1048576/prober=echo", "MB", each, "", 40},
	{"The client", "127.0.0.0/8, memory", "bench/peers Sweep/n=16777215/prober=echo", "MB", each, "", 100},
	{"The client", "One target at ping -f's rate", "bench/peers Flood/prober=echo", "x-ping", each, "", 1},
	{"The client", "4,096 targets each second, part of a core", "bench/peers Steady/n=4096/prober=echo", "%core", each, "", 6},
	{"The client", "4,096 targets each second, half of fping's processor time", "bench/peers Steady/n=4096/prober=echo", "x-fping-cpu", each, "", 0.5},
	{"The client", "4,096 targets each second, memory", "bench/peers Steady/n=4096/prober=echo", "MB", each, "", 16},
	{"The client", "4,096 targets each second, round trip beyond that of one target", "bench/peers Steady/n=4096/prober=echo", "ns-rtt", difference, "n=1", 2000},
	{"The client", "Memory for a request in flight", "bench/peers InFlight", "B/probe", each, "", 64},
	{"The server", "Raw, 1.05 replies for the lesson's one, by processor time", "bench/peers Server/Raw/server=echo/reference=lesson", "x-lesson-cpu", each, "", 1 / 1.05},
	{"The server", "Raw, 0.93 replies for one of a bare batch loop", "bench/peers Server/Raw/server=echo/reference=batch", "x-batch-cpu", each, "", 1 / 0.93},
	{"The server", "TUN, 1.45 replies for the lesson's one", "bench/peers Server/TUN/server=echo/reference=lesson", "x-lesson-cpu", each, "", 1 / 1.45},
	{"The server", "Two loops, processor time of a reply beside one loop's", "bench/peers Loops/loops=2/processors=1", "x-one-cpu", each, "", 1.15},
	{"The server", "A round trip, beside the lesson's", "bench/peers RoundTrip/server=echo/spin=0", "x-lesson", each, "", 1},
	{"The server", "A round trip with Spin, four times as fast as the lesson's", "bench/peers RoundTrip/server=echo/spin=50us", "x-lesson", each, "", 1 / 4.0},
	{"The server", "100,000 rules beside one", "bench/peers Rules/n=100000", "x-one-cpu", each, "", 1.1},
}

// row is a goal beside a figure.
type row struct {
	About, What, Name, Figure, Goal string
	Verdict                         string
}

// Verdicts.
const (
	met         = "met"
	fallsShort  = "FALLS SHORT"
	notMeasured = "not measured"
)

// judge returns the rows of a goal, or one that says that it was not measured.
func (r *results) judge(g goal) []row {
	var rows []row
	var most quantity // of them, which is that of rows[largest]
	largest := 0
	for _, b := range r.find(g.of) {
		q, ok := b.quantity(g.unit)
		if g.beside != "" {
			ok = false
			if other := r.beside(b, g.beside); other != nil {
				q, ok = pairwise(b, other, g.unit, g.combine)
			}
		}
		if !ok {
			continue
		}
		if rows == nil || q.median > most.median {
			largest, most = len(rows), q
		}
		verdict := met
		if q.median > g.most {
			verdict = fallsShort
		}
		rows = append(rows, row{g.about, g.what, b.String(), q.String() + g.suffix(), "at most " + g.limit() + g.suffix(), verdict})
	}
	switch {
	case len(rows) == 0:
		return []row{{g.about, g.what, string(g.of), "", "at most " + g.limit() + g.suffix(), notMeasured}}
	case g.how == worst && len(rows) > 1:
		the := rows[largest]
		the.Name += fmt.Sprintf(", the most of %d", len(rows))
		return []row{the}
	}
	return rows
}

func (g goal) combine(a, b float64) float64 {
	if g.how == difference {
		return a - b
	}
	return a / b
}

// suffix is the unit, where the figure is no ratio.
func (g goal) suffix() string {
	if g.unit[0] == 'x' || g.how == ratio {
		return "×"
	}
	return " " + g.unit
}

// limit has no more digits than the goal.
func (g goal) limit() string {
	return grouped(strconv.FormatFloat(math.Round(g.most*1000)/1000, 'f', -1, 64))
}
