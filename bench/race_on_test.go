//go:build race

package bench

// raceDetector: the compiler allocates what it does not without it.
const raceDetector = true
