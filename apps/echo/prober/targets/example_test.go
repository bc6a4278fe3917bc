package targets_test

import (
	"fmt"
	"log"
	"strings"

	"iomux/apps/echo/prober/targets"
)

// Targets of all kinds, some of them excluded, in a random order.
func Example() {
	var b targets.Builder
	for _, spec := range []string{"192.0.2.0/29", "2001:db8::1-2001:db8::2", "host.example", "fe80::1%eth0"} {
		if err := b.Add(spec); err != nil {
			log.Fatal(err)
		}
	}
	never := "192.0.2.0-5  # routers\n2001:db8::2\n"
	if err := b.ExcludeFile("never.txt", strings.NewReader(never)); err != nil {
		log.Fatal(err)
	}
	hosts, err := b.List()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%+v\n", hosts.Counts())
	hosts = hosts.Shuffle(1)
	for i := range hosts.Len() {
		fmt.Println(hosts.At(i))
	}
	// Unordered output: {IPv4:2 IPv6:2 Names:1 Duplicates:0 Excluded:7}
	// 192.0.2.6
	// 192.0.2.7
	// 2001:db8::1
	// host.example
	// fe80::1%eth0
}

func ExampleParse() {
	hosts, err := targets.Parse("192.0.2.1-3", "host.example")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(hosts.Len(), hosts.At(2), hosts.At(3))
	// Output: 4 192.0.2.3 host.example
}

func ExampleBuilder_Add() {
	var b targets.Builder
	fmt.Println(b.Add("192.0.2.20-10"))
	fmt.Println(b.Add("192.0.2.7:80"))
	// Output:
	// target "192.0.2.20-10": the range ends before it begins; write 192.0.2.10-20
	// target "192.0.2.7:80": there is a port in it; write the host alone: "192.0.2.7"
}
