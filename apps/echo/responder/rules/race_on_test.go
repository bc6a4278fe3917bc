//go:build race

package rules_test

// many is how many decisions are counted. The race detector makes them slow, and
// has nothing to find in them.
const many = 100_000
