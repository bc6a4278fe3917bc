package jobs

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Sample is what a round was.
type Sample struct {
	Events    int
	Wall, CPU time.Duration // CPU is of all processors and of the whole process
}

// perEvent returns nanoseconds.
func (s Sample) perEvent() (wall, cpu float64) {
	return float64(s.Wall) / float64(s.Events), float64(s.CPU) / float64(s.Events)
}

// Round plays a round. Rounds of one contestant are alike.
type Round func() (Sample, error)

// Timed samples a round that is played in this process.
func Timed(events int, play func() error) (Sample, error) {
	var before, after unix.Timespec
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &before)
	start := time.Now()
	err := play()
	wall := time.Since(start)
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &after)
	return Sample{events, wall, time.Duration(after.Nano() - before.Nano())}, err
}

// Comparison sets a contestant against another, round beside round: what slows
// the machine down for a while slows down both, and leaves the ratio of a pair
// alone.
type Comparison struct {
	wall, cpu []float64 // of the contestant, nanoseconds per event
	ratios    []float64 // of wall, in each pair
	cpuRatios []float64
}

// Pair plays a round of each. Every other time the reference is the first.
// Without a reference there are no ratios.
func (c *Comparison) Pair(contestant, reference Round) error {
	var s, ref Sample
	var err error
	refFirst := len(c.wall)%2 == 1
	if reference != nil && refFirst {
		ref, err = reference()
	}
	if err == nil {
		s, err = contestant()
	}
	if reference != nil && !refFirst && err == nil {
		ref, err = reference()
	}
	if err != nil {
		return err
	}
	wall, cpu := s.perEvent()
	c.wall, c.cpu = append(c.wall, wall), append(c.cpu, cpu)
	if reference != nil {
		refWall, refCPU := ref.perEvent()
		c.ratios, c.cpuRatios = append(c.ratios, wall/refWall), append(c.cpuRatios, cpu/refCPU)
	}
	return nil
}

// Report hands out medians, each with the 10th and the 90th percentile of the rounds.
// It is given a benchmark's ReportMetric, and the names of the event and of the
// reference for the units.
func (c *Comparison) Report(metric func(value float64, unit string), event, reference string) {
	spread := func(values []float64, unit string) {
		metric(Median(values), unit)
		metric(quantile(values, 0.1), unit+"-p10")
		metric(quantile(values, 0.9), unit+"-p90")
	}
	spread(c.wall, "ns/"+event)
	spread(c.cpu, "cpu-ns/"+event)
	if len(c.ratios) > 0 {
		spread(c.ratios, "x-"+reference)
		metric(Median(c.cpuRatios), "x-"+reference+"-cpu")
	}
}

// ReportCPU adds the spread of the ratios of processor time.
func (c *Comparison) ReportCPU(metric func(value float64, unit string), reference string) {
	if len(c.cpuRatios) > 0 {
		metric(quantile(c.cpuRatios, 0.1), "x-"+reference+"-cpu-p10")
		metric(quantile(c.cpuRatios, 0.9), "x-"+reference+"-cpu-p90")
	}
}

// Wall is the contestant's median of nanoseconds per event.
func (c *Comparison) Wall() float64 { return Median(c.wall) }

// CPU is the contestant's median of nanoseconds on processors per event.
func (c *Comparison) CPU() float64 { return Median(c.cpu) }

// Median is the one in the middle of at least one value, or the mean of the two there.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// quantile is the nearest rank.
func quantile(values []float64, q float64) float64 {
	return nearest(slices.Sorted(slices.Values(values)), q)
}

func nearest[T any](sorted []T, q float64) T { return sorted[int(q*float64(len(sorted)-1)+0.5)] }
