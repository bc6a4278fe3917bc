// Package bench compares the multiplexer backends, on bare descriptors and under
// the echo server:
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
// loops; bench/soak runs it under load for a long time.
package bench
