//go:build race

package prober_test

// racing: the race detector makes everything ten times slower.
const racing = true
