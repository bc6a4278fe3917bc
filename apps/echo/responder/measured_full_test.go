//go:build !race

package responder_test

const measuredRequests = 25_000
