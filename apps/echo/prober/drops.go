package prober

import (
	"bytes"
	"errors"
	"os"
	"strconv"
)

// badChecksums is how many ICMPv6 messages with a bad checksum the network namespace has
// received (proc_net_snmp6 in proc(5)).
func badChecksums() (uint64, error) {
	b, err := os.ReadFile("/proc/thread-self/net/snmp6")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) == 2 && string(f[0]) == "Icmp6InCsumErrors" {
			return strconv.ParseUint(string(f[1]), 10, 64)
		}
	}
	return 0, errNoCounter
}

var errNoCounter = errors.New("no Icmp6InCsumErrors")
