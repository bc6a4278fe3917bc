//go:build !race

package prober_test

const racing = false
