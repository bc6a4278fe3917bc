package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spare is how many descriptors there are besides the sources', at the most.
const spare = 100

// raiseLimit makes sure that so many sources can be open. A pipe has two
// descriptors.
func raiseLimit(descriptors int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	need := 2*uint64(descriptors) + spare
	if limit.Cur >= need {
		return nil
	}
	raised := unix.Rlimit{Cur: need, Max: max(limit.Max, need)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		return tooMany(descriptors, need, limit.Max)
	}
	return nil
}

func tooMany(descriptors int, need, hard uint64) error {
	return fmt.Errorf("%d descriptors to watch need %d open files, and the hard limit is %d: raise it (ulimit -Hn %d as root; LimitNOFILE= in systemd; nofile in limits.conf(5)), or use --descriptors %d",
		descriptors, need, hard, need, max(int64(hard)-spare, 2)/2)
}
