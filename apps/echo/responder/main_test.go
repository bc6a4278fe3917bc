package responder_test

import (
	"flag"
	"os"
	"testing"

	"iomux/transport/netlab"
)

// The test binary plays another role when it finds one in the environment.
const roleVariable = "IOMUX_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "takeover" {
		os.Exit(takeoverProcess())
	}
	if !netlab.Inside() {
		// For the run in place, where the system refuses a private network
		// namespace: an example cannot skip itself.
		flag.Set("test.skip", "^Example")
	}
	os.Exit(netlab.Main(m))
}
