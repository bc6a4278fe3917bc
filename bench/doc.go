// Package bench compares the multiplexer backends, on bare descriptors, under a loop,
// under the echo server and under the prober:
//
//	go test -bench . ./bench
//
// takes less than three minutes, with half a second for each where -benchtime does not
// say another time. Flags make the sets larger, and -args -help lists them:
//
//	go test -run '^$' -bench Chain ./bench -chain.n 10,30,100,300,1000,3000 -chain.active 1
//
// The names of the benchmarks are for benchstat, which puts the backends side
// by side from one output:
//
//	go test -run '^$' -bench . -count 10 ./bench > new.txt
//	benchstat -col /backend new.txt
//
//	AddModifyRemove  a change of what is wanted; a descriptor that comes and goes
//	Oneshot          a descriptor that is reported once, and armed again
//	Idle             a look at n descriptors of which none is ready
//	Wake             a wake-up, and the wait that it ends
//	Wait, PingPong   a time limit on a wait; a byte between two waiters, two loops
//	Chain            n pipes of which active hold a byte that is passed on
//	Cascade          the same, with registration and a timer for each pipe
//	Overhead         a chain on a loop and on a bare one by turns
//	Timers           timers that are armed, fire, and are stopped
//	EchoRoundTrip    a request to the echo server and its reply
//	EchoWindow       requests outstanding all the time
//	Sweep, Steady    the prober: many targets once, and some of them again and again
//
// An event is a callback, or what the line above says, a packet there and back for
// instance. The metrics are medians of rounds: ns/event by the clock and cpu-ns/event
// on all processors of the whole process, each with the 10th and the 90th percentile of
// the rounds (-p10, -p90); and packets/s.
//
// p50-ns, p90-ns, p99-ns and p999-ns are percentiles of single round trips (p999 is
// 99.9 %), from before a request is sent until its reply has been received: in a window
// most of that is the time in a queue. The client looks at the clock once for each batch,
// and the rest is done between the rounds.
//
// syscalls/event and allocs/event are not timed but counted: the same work runs in
// lock-step on one thread of another process, which strace(1) watches. Where it is not
// installed (Debian package strace) or may not trace, the system calls are left out, which
// is said; so are those of loops that spin, which look as often as time allows. TestCosts
// compares these counts with testdata/costs.txt, and fails when one has grown.
//
// bench/peers, a module of its own, puts the loop beside libev, libevent, gnet,
// goroutines and bare loops, the echo client beside fping, ping, masscan, zmap and others,
// and the server beside loops in C; bench/report makes a page of all; bench/soak runs the loop under
// load for a long time.
package bench
