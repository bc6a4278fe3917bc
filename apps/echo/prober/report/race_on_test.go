//go:build race

package report

// racing: the race detector makes everything ten times slower.
const racing = true
