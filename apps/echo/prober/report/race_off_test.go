//go:build !race

package report

const racing = false
