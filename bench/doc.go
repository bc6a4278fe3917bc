// Package bench compares the multiplexer backends, on bare descriptors, under the
// echo server and under the prober:
//
//	go test -bench . ./bench
//
// The names of the benchmarks are for benchstat, which puts the backends side
// by side from one output:
//
//	go test -bench . -count 10 ./bench > new.txt
//	benchstat -col /backend new.txt
//
// bench/peers, a module of its own, puts the loop beside libev and beside bare
// loops, and the echo client beside fping and ping; bench/soak runs the loop under
// load for a long time.
package bench
