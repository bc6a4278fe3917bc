package jobs

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// takes returns a contestant whose rounds of 1000 events take these times, and
// who writes his name into the log.
func takes(log *[]string, name string, walls ...time.Duration) Round {
	i := -1
	return func() (Sample, error) {
		*log = append(*log, name)
		i++
		return Sample{1000, walls[i], 2 * walls[i]}, nil
	}
}

// reported plays pairs and returns the metrics.
func reported(t *testing.T, pairs int, contestant, reference Round) map[string]float64 {
	t.Helper()
	var c Comparison
	for range pairs {
		must(t, c.Pair(contestant, reference))
	}
	metrics := map[string]float64{}
	c.Report(func(value float64, unit string) { metrics[unit] = value }, "event", "libev")
	if reference == nil {
		c.ReportCPU(func(value float64, unit string) { metrics[unit] = value }, "libev")
	}
	return metrics
}

func expectMetrics(t *testing.T, got, want map[string]float64) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("metrics: %v\nwant:    %v", got, want)
	}
}

// The machine slows down, more than the contestants differ: the ratio stays.
func TestRatioIsOfPairs(t *testing.T) {
	var log []string
	got := reported(t, 5,
		takes(&log, "ours", 3000, 6000, 30000, 15000, 9000),
		takes(&log, "theirs", 2000, 4000, 20000, 10000, 6000))
	expectMetrics(t, got, map[string]float64{
		"ns/event": 9, "ns/event-p10": 3, "ns/event-p90": 30,
		"cpu-ns/event": 18, "cpu-ns/event-p10": 6, "cpu-ns/event-p90": 60,
		"x-libev": 1.5, "x-libev-p10": 1.5, "x-libev-p90": 1.5, "x-libev-cpu": 1.5,
	})
	if got, want := strings.Join(log, " "), "ours theirs theirs ours ours theirs theirs ours ours theirs"; got != want {
		t.Errorf("order: %s\nwant:  %s", got, want)
	}
}

func TestSpread(t *testing.T) {
	var log []string
	got := reported(t, 10,
		takes(&log, "ours", 5000, 1000, 9000, 2000, 4000, 7000, 3000, 10000, 6000, 8000),
		takes(&log, "theirs", 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000))
	expectMetrics(t, got, map[string]float64{
		"ns/event": 5.5, "ns/event-p10": 2, "ns/event-p90": 9,
		"cpu-ns/event": 11, "cpu-ns/event-p10": 4, "cpu-ns/event-p90": 18,
		"x-libev": 5.5, "x-libev-p10": 2, "x-libev-p90": 9, "x-libev-cpu": 5.5,
	})
}

// The processor time of a pair has a spread of its own.
func TestSpreadOfProcessorTime(t *testing.T) {
	var c Comparison
	for i := range 11 {
		must(t, c.Pair(
			func() (Sample, error) { return Sample{1000, 5000, time.Duration(1+i) * 1000}, nil },
			func() (Sample, error) { return Sample{1000, 5000, 2000}, nil }))
	}
	got := map[string]float64{"median": c.CPU(), "wall": c.Wall()}
	c.ReportCPU(func(value float64, unit string) { got[unit] = value }, "libev")
	expectMetrics(t, got, map[string]float64{"median": 6, "wall": 5, "x-libev-cpu-p10": 1, "x-libev-cpu-p90": 5})
}

// Rounds of different lengths are compared event by event. One round has no spread.
func TestRatioIsPerEvent(t *testing.T) {
	got := reported(t, 1,
		func() (Sample, error) { return Sample{100, 800, 900}, nil },
		func() (Sample, error) { return Sample{50, 200, 200}, nil })
	expectMetrics(t, got, map[string]float64{
		"ns/event": 8, "ns/event-p10": 8, "ns/event-p90": 8,
		"cpu-ns/event": 9, "cpu-ns/event-p10": 9, "cpu-ns/event-p90": 9,
		"x-libev": 2, "x-libev-p10": 2, "x-libev-p90": 2, "x-libev-cpu": 2.25,
	})
}

func TestWithoutReference(t *testing.T) {
	var log []string
	got := reported(t, 3, takes(&log, "ours", 1000, 3000, 2000), nil)
	expectMetrics(t, got, map[string]float64{
		"ns/event": 2, "ns/event-p10": 1, "ns/event-p90": 3, "cpu-ns/event": 4, "cpu-ns/event-p10": 2, "cpu-ns/event-p90": 6,
	})
}

// A pair of which one fails does not count, and the one that follows is not
// played.
func TestRoundFails(t *testing.T) {
	failure := errors.New("failure")
	fails := func() (Sample, error) { return Sample{}, failure }
	var log []string
	for range 2 {
		works := takes(&log, "works", 1000, 1000, 1000)
		var c Comparison
		for range 2 {
			if err := c.Pair(fails, works); err != failure {
				t.Errorf("pair: %v; want %v", err, failure)
			}
		}
		if len(log) != 0 {
			t.Errorf("played: %v", log)
		}
		if err := c.Pair(works, fails); err != failure {
			t.Errorf("pair: %v; want %v", err, failure)
		}
		if len(c.wall)+len(c.cpu)+len(c.ratios) != 0 {
			t.Errorf("counted: %+v", c)
		}
		log = nil
	}
}

// A round that keeps a processor busy for a millisecond takes that long on both
// clocks.
func TestTimed(t *testing.T) {
	now := func(clock int32) int64 {
		var ts unix.Timespec
		must(t, unix.ClockGettime(clock, &ts))
		return ts.Nano()
	}
	failure := errors.New("failure")
	s, err := Timed(7, func() error {
		const busy = int64(time.Millisecond)
		for cpu, wall := now(unix.CLOCK_PROCESS_CPUTIME_ID), now(unix.CLOCK_MONOTONIC); now(unix.CLOCK_PROCESS_CPUTIME_ID) < cpu+busy || now(unix.CLOCK_MONOTONIC) < wall+busy; {
		}
		return failure
	})
	if s.Events != 7 || s.Wall < time.Millisecond || s.CPU < time.Millisecond || err != failure {
		t.Errorf("Timed = %+v, %v; want 7 events, a millisecond or more, %v", s, err, failure)
	}
}
