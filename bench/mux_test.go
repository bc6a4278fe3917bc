package bench

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/mux"
	"iomux/transport/netlab"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// eachBackend runs a benchmark on every backend, under a name that benchstat
// can make a column of.
func eachBackend(b *testing.B, run func(b *testing.B, m mux.Mux)) {
	for _, name := range mux.Backends() {
		b.Run("backend="+name, func(b *testing.B) {
			m, err := mux.Open(name)
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			b.ReportAllocs()
			run(b, m)
		})
	}
}

// pipes opens n pipes, for the length of the benchmark.
func pipes(b *testing.B, n int) [][2]int {
	raiseLimit(b, uint64(2*n+100))
	ps := make([][2]int, n)
	for i := range ps {
		if err := unix.Pipe2(ps[i][:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			unix.Close(ps[i][0])
			unix.Close(ps[i][1])
		})
	}
	return ps
}

// watched opens n pipes and watches their read ends; the token is the place in
// the slice.
func watched(b *testing.B, m mux.Mux, n int) [][2]int {
	ps := pipes(b, n)
	for i := range ps {
		if err := m.Add(ps[i][0], mux.Readable, uint64(i)); err != nil {
			b.Fatal(err)
		}
	}
	return ps
}

// raiseLimit makes sure that n descriptors may be open.
func raiseLimit(b *testing.B, n uint64) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	limit.Cur = min(n, limit.Max)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if limit.Cur < n {
		b.Skipf("%d descriptors needed, the hard limit is %d (RLIMIT_NOFILE)", n, limit.Max)
	}
}

// BenchmarkReady makes one of many descriptors readable, waits for it and reads
// it: what a wait costs as the number of watched descriptors grows.
func BenchmarkReady(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("descriptors=%d", n), func(b *testing.B) {
			eachBackend(b, func(b *testing.B, m mux.Mux) {
				ps := watched(b, m, n)
				events := make([]mux.Event, 16)
				data := []byte{1}
				i := 0
				for b.Loop() {
					i = (i + 7) % n
					unix.Write(ps[i][1], data)
					if got, err := m.Wait(events, -1); got != 1 || err != nil || events[0].Token != uint64(i) {
						b.Fatalf("Wait = %d, %v, %v; want an event of %d", got, err, events[0], i)
					}
					unix.Read(ps[i][0], data)
				}
			})
		})
	}
}

// BenchmarkModify changes what is wanted of a descriptor to and fro.
func BenchmarkModify(b *testing.B) {
	eachBackend(b, func(b *testing.B, m mux.Mux) {
		fd := watched(b, m, 1)[0][0]
		want := mux.Readable
		for b.Loop() {
			want ^= mux.Readable | mux.Priority
			if err := m.Modify(fd, want, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkWake wakes a multiplexer and waits for that, on one goroutine.
func BenchmarkWake(b *testing.B) {
	eachBackend(b, func(b *testing.B, m mux.Mux) {
		events := make([]mux.Event, 1)
		for b.Loop() {
			m.Wake()
			if n, err := m.Wait(events, -1); n != 0 || err != nil {
				b.Fatalf("Wait = %d, %v; want 0, nil", n, err)
			}
		}
	})
}
