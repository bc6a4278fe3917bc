//go:build !race

package rules_test

// many is how many decisions are counted.
const many = 1_000_000
