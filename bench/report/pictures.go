package main

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
	unit   string                // of the metric
	value  func(float64) float64 // as it is drawn
	x      string                // the key with the number on the x axis, "" where the axis has places
	place  string                // there, or in a row; "" is what the benchmark is called
	series string                // a key, or a name; "" is what the benchmark is called
}

func microseconds(ns float64) float64  { return ns / 1000 }
func perMillisecond(v float64) float64 { return v / 1000 }
func itself(v float64) float64         { return v }

// percentiles are of single round trips, from what half of them take to what one of a
// thousand takes longer than.
func percentiles(of which, series string) []source {
	var all []source
	for _, p := range [][2]string{{"p50-ns", "median"}, {"p90-ns", "90th"}, {"p99-ns", "99th"}, {"p999-ns", "99.9th"}} {
		all = append(all, source{of, p[0], microseconds, "", p[1], series})
	}
	return all
}

var pictures = []picture{
	{
		name: "one-active", title: "One ready descriptor of many",
		about: "A chain of pipes on the loop: whoever finds his pipe readable reads a byte and writes one into the next pipe, so that one is readable at a time. An event is a wait, a callback, a read and a write.",
		x:     axis{"pipes watched", true}, y: axis{"µs for each event", true},
		sources: []source{{"bench Chain/active=1", "ns/event", microseconds, "n", "", "backend"}},
		first:   "epoll",
	}, {
		name: "hundred-active", title: "A hundred ready descriptors of many",
		about: "The same chain with a hundred bytes on their way, which share a wait.",
		x:     axis{"pipes watched", true}, y: axis{"µs for each event", true},
		sources: []source{{"bench Chain/active=100", "ns/event", microseconds, "n", "", "backend"}},
		first:   "epoll",
	}, {
		name: "peers-chain", title: "The chain on loops of others, 100 active",
		about: "The same chain on iomux's loop, on a loop over epoll written by hand in Go and in C, on libev and libevent, and with a goroutine for each pipe.",
		x:     axis{"pipes watched", true}, y: axis{"µs for each event", true},
		sources: []source{
			{"bench/peers Chain/active=100/calls=raw", "ns/event", microseconds, "n", "", "loop"},
			{"bench/peers Chain/active=100/loop=bare-c", "ns/event", microseconds, "n", "", "loop"},
			{"bench/peers Chain/active=100/loop=libev", "ns/event", microseconds, "n", "", "loop"},
			{"bench/peers Chain/active=100/loop=libevent", "ns/event", microseconds, "n", "", "loop"},
			{"bench/peers Chain/active=100/loop=goroutines", "ns/event", microseconds, "n", "", "loop"},
		},
	}, {
		name: "peers-timers", title: "Timers on loops of others", rows: true,
		about: "Timers that are due at random within a second: allocated and armed (new), armed again, fired when all are due, moved to other times, stopped. libev-now and the like look at the clock before each, so that none is early, as those of iomux never are.",
		x:     axis{"ns for each timer", true},
		sources: []source{
			{"bench/peers Timers", "ns/timer", itself, "", "", "loop"},
		},
	}, {
		name: "echo-throughput", title: "Echo round trips, client and server on a backend each",
		about: "As many requests are sent as replies arrive, over raw sockets on loopback: how many round trips there are in a second.",
		x:     axis{"requests outstanding", true}, y: axis{"thousand round trips a second", false},
		sources: []source{{"bench EchoWindow", "packets/s", perMillisecond, "window", "", "backend"}},
	}, {
		name: "latency-backends", title: "How long single echo round trips take, by backend",
		about:   "One request outstanding, client and server on a loop each in one process, over raw sockets on loopback. With spin=50µs neither sleeps before nothing has come for that long.",
		x:       axis{"percentile of the round trips", false},
		y:       axis{"µs, at most", true},
		sources: percentiles("bench EchoRoundTrip", ""),
	}, {
		name: "latency-servers", title: "How long single echo round trips take, by server",
		about:   "One request outstanding, from a client in C on another processor. With spin=50us neither client nor server sleeps before nothing has come for that long; the lesson always does.",
		x:       axis{"percentile of the round trips", false},
		y:       axis{"µs, at most", true},
		sources: percentiles("bench/peers RoundTrip", ""),
	}, {
		name: "servers", title: "What a reply costs a server", rows: true,
		about: "Processor time of the server for a reply, with 256 requests outstanding from a client in C on another processor.",
		x:     axis{"µs on processors for each reply", false},
		sources: []source{
			{"bench/peers Server/Raw", "cpu-ns/reply", microseconds, "", "", "raw sockets"},
			{"bench/peers Server/TUN", "cpu-ns/reply", microseconds, "", "", "TUN"},
		},
	}, {
		name: "datagrams", title: "What a UDP datagram costs a server", rows: true,
		about: "Processor time of the server for a datagram and its answer: on iomux, on gnet, with a goroutine that reads and writes a net.UDPConn, and in C, a batch or a datagram at a time.",
		x:     axis{"µs on processors for each reply", false},
		sources: []source{
			{"bench/peers Datagrams/outstanding=256", "cpu-ns/reply", microseconds, "", "", "256 outstanding"},
			{"bench/peers Datagrams/outstanding=1", "cpu-ns/reply", microseconds, "", "", "one outstanding"},
		},
	}, {
		name: "sweep-cpu", title: "Probing many targets once: processor time",
		about: "A request to each target, as fast as they answer, by the prober as a process, from its start to its end; with the kernel's part.",
		x:     axis{"targets", true}, y: axis{"µs on processors for each probe", true},
		sources: []source{{"bench/peers Sweep", "cpu-ns/probe", microseconds, "n", "", "prober"}},
	}, {
		name: "sweep-memory", title: "Probing many targets once: memory",
		about: "The resident size of the same processes at its peak.",
		x:     axis{"targets", true}, y: axis{"MB resident (10⁶ bytes)", true},
		sources: []source{{"bench/peers Sweep", "MB", itself, "n", "", "prober"}},
	}, {
		name: "scan", title: "Scanning many targets, beside masscan and zmap", rows: true,
		about: "A request to each target at the same rate, over a veth to a kernel that answers, by each scanner as a process, from its start to its end.",
		x:     axis{"µs on processors for each probe", true},
		sources: []source{
			{"bench/peers Scan", "cpu-ns/probe", microseconds, "", "", "on processors"},
		},
	}, {
		name: "flood", title: "Probing one target as fast as it answers", rows: true,
		about: "Requests to one address by each prober as a process, from its start to its end; with the kernel's part. pro-bing and nping send a third of them and do not wait for replies; pro-bing then waits a second for those that are lost.",
		x:     axis{"µs for each probe", true},
		sources: []source{
			{"bench/peers Flood", "cpu-ns/probe", microseconds, "", "", "on processors"},
			{"bench/peers Flood", "ns/probe", microseconds, "", "", "by the clock"},
		},
	}, {
		name: "steady-cpu", title: "Probing each target once a second: processor", rows: true,
		about: "The part of a core that it takes, over a veth to a kernel that answers. echo and bare-c send 64 requests every 16 ms, fping-burst all at once, the others one at a time.",
		x:     axis{"% of a core", true},
		sources: []source{
			{"bench/peers Steady/n=4096", "%core", itself, "", "", "4,096 targets"},
			{"bench/peers Steady/n=256", "%core", itself, "", "", "256 targets"},
		},
	}, {
		name: "steady-memory", title: "Probing each target once a second: memory", rows: true,
		about: "The resident size of the same processes at its peak.",
		x:     axis{"MB resident (10⁶ bytes)", true},
		sources: []source{
			{"bench/peers Steady/n=4096", "MB", itself, "", "", "4,096 targets"},
			{"bench/peers Steady/n=256", "MB", itself, "", "", "256 targets"},
		},
	},
}
