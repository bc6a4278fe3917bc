//go:build race

package responder_test

// measuredRequests are few, as the race detector makes them slow, and has nothing to
// find in the later ones.
const measuredRequests = 3_000
