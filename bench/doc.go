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
package bench
