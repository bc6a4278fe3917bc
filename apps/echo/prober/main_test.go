package prober_test

import (
	"flag"
	"os"
	"testing"

	"iomux/transport/netlab"
)

func TestMain(m *testing.M) {
	if !netlab.Inside() {
		// For the run in place, where the system refuses a private network
		// namespace: an example cannot skip itself.
		flag.Set("test.skip", "^Example")
	}
	os.Exit(netlab.Main(m))
}
