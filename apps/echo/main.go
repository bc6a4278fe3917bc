// Command echo answers and sends ICMP echo requests: see echo --help.
package main

import (
	"os"

	"iomux/apps/echo/cmd"
)

func main() { os.Exit(cmd.Main()) }
