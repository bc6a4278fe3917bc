package peers

import (
	"slices"
	"testing"
	"time"

	"iomux/bench/internal/jobs"
)

// The numbers are those that this generator is known for (Numerical Recipes,
// "quick and dirty" ones), as fractions of 2^32.
func TestDurations(t *testing.T) {
	want := []time.Duration{1015568748, 1586005467, 2165703038}
	if got := durations(3, 1<<32); !slices.Equal(got, want) {
		t.Errorf("durations = %d; want %d", got, want)
	}
	for _, d := range durations(1000, time.Millisecond) {
		if d < 0 || d >= time.Millisecond {
			t.Fatalf("duration of %v; want less than a millisecond", d)
		}
	}
}

// A round that does less than was asked for does not count.
func TestCounted(t *testing.T) {
	round := func() (jobs.Sample, error) { return jobs.Sample{Events: 9}, nil }
	if _, err := counted(round, 9)(); err != nil {
		t.Error(err)
	}
	if _, err := counted(round, 10)(); err == nil || err.Error() != "9 events in a round; want 10" {
		t.Errorf("9 of 10 events: %v", err)
	}
	ts, err := newTimers(2, time.Millisecond)
	must(t, err)
	defer ts.close()
	must(t, ts.arm(later))
	for _, job := range []string{"arm", "fire", "reset", "stop"} {
		if s, err := ts.play(job); err == nil {
			t.Errorf("%s while they are armed: %+v; want an error", job, s)
		}
		ts.stop()
		must(t, ts.arm(later))
	}
}

func TestTimersInGo(t *testing.T) {
	for _, job := range timerJobs {
		t.Run(job, func(t *testing.T) {
			ts, err := newTimers(1000, time.Millisecond)
			must(t, err)
			defer ts.close()
			expect(t, func() (jobs.Sample, error) { return ts.play(job) }, 1000)
			if want := map[string]int{"fire": 1000}[job]; ts.fired != want {
				t.Errorf("%d fired; want %d", ts.fired, want)
			}
			for i, timer := range ts.armed {
				if timer.Stop() {
					t.Fatalf("timer %d is armed after the round", i)
				}
			}
		})
	}
	ts, err := newTimers(1, time.Millisecond)
	must(t, err)
	defer ts.close()
	if _, err := ts.play("play"); err == nil || err.Error() != `unknown job "play"` {
		t.Errorf("play: %v", err)
	}
}
