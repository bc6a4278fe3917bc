package mux

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

var (
	stressSeed = flag.Uint64("stress.seed", 0, "run the stress tests on this `seed` (0: a random one)")
	stressRuns = flag.Int("stress.runs", 0, "run the stress tests on `n` seeds, one after the other (0: a few seconds' worth; with a seed, 1)")
)

// stressSeeds returns the first seed and how many there are to be.
func stressSeeds(ordinary int) (first uint64, runs int) {
	first, runs = *stressSeed, *stressRuns
	switch {
	case runs == 0 && first != 0:
		runs = 1
	case runs == 0:
		runs = ordinary
	}
	if first == 0 {
		first = 1 + uint64(rand.Uint32())
	}
	return first, runs
}

// scripts of this size have every kind of operation meet every other, and fail
// early enough to be shrunk quickly.
const stressPlaces, stressLength = 8, 300

// stress runs the script of a seed. If it fails, it returns the shortest part
// of it that does, and how.
func stress(open func() (Mux, error), seed uint64) (shortest []op, err error) {
	edges, err := hasEdges(open)
	if err != nil {
		return nil, err
	}
	try := func(script []op) (int, error) {
		m, err := open()
		if err != nil {
			return 0, err
		}
		defer m.Close()
		return run(m, edges, stressPlaces, script)
	}
	script := generate(rand.New(rand.NewPCG(seed, 0)), stressPlaces, stressLength, 1)
	done, err := try(script)
	if err == nil {
		return nil, nil
	}
	shortest = shrink(script[:done], func(part []op) bool {
		_, err := try(part)
		return err != nil
	})
	if _, again := try(shortest); again != nil {
		err = again
	}
	return shortest, err
}

// explain says what failed, on which operations, and how to see it again.
func explain(t *testing.T, seed uint64, err error, operations []string) string {
	name := strings.ReplaceAll(t.Name(), "/", "$/^")
	return fmt.Sprintf("%v\noperations:\n\t%s\nagain: go test ./mux -run '^%s$' -stress.seed %d",
		err, strings.Join(operations, "\n\t"), name, seed)
}

func lines(script []op) []string {
	var lines []string
	for _, o := range script {
		lines = append(lines, o.String())
	}
	return lines
}

// TestStress does random operations one after the other.
func TestStress(t *testing.T) {
	for _, name := range Backends() {
		t.Run(name, func(t *testing.T) {
			first, runs := stressSeeds(400)
			for seed := first; seed < first+uint64(runs); seed++ {
				script, err := stress(func() (Mux, error) { return Open(name) }, seed)
				if err != nil {
					t.Fatal(explain(t, seed, err, lines(script)))
				}
			}
		})
	}
}
